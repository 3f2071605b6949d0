"""The dataset on disk: description, manifest, rows, records, and how they are read back."""
