"""Names of the numbered files of a dataset's tables."""

from __future__ import annotations

MANIFEST_FILES = "manifest-{index:05d}-of-{count:05d}.parquet"
# Images that the dataset had once, and their splits.
PAST_FILES = "past-{index:05d}-of-{count:05d}.parquet"
REJECTS_FILES = "rejects-{index:05d}-of-{count:05d}.jsonl"
