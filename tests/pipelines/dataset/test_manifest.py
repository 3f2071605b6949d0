"""Rows of the manifest and of the rejects."""

from __future__ import annotations

import pytest

from pipelines.dataset import manifest as dataset_manifest


def test_manifest_rows_are_checked_against_the_schema():
    with pytest.raises(Exception, match=r"null|None|nullable"):
        dataset_manifest.parquet_bytes([{"id": None, "path": "x"}], dataset_manifest.MANIFEST_SCHEMA)
