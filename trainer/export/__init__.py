"""From weights to a SavedModel, and back: fitting, calibration, loading."""
