"""What every reader of `dataset.json` must agree on."""

from __future__ import annotations

SCHEMA_VERSION = 1


DATASET_JSON = "dataset.json"
