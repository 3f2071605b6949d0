"""From weights to a SavedModel and back: temperature and operating points, export, loading."""
