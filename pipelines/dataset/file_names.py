"""Names of files of a dataset: the numbered ones of its tables, and its card."""

from __future__ import annotations

MANIFEST_FILES = "manifest-{index:05d}-of-{count:05d}.parquet"
# Images that the dataset had once, and their splits.
PAST_FILES = "past-{index:05d}-of-{count:05d}.parquet"
REJECTS_FILES = "rejects-{index:05d}-of-{count:05d}.jsonl"
CARD_PAGE = "report.html"
CARD_TEXT = "report.md"
