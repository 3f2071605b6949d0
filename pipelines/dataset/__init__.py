"""The dataset on disk: rows, manifest, records and dataset.json, and how they are read back."""
