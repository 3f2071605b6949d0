"""Names of the numbered files of one table."""

from __future__ import annotations

from pipelines.storage.numbered_files import any_of, named_like, names_of

PATTERN = "rejects-{index:05d}-of-{count:05d}.jsonl"


def test_names_have_index_and_count() -> None:
    assert names_of(PATTERN, 2) == ["rejects-00000-of-00002.jsonl", "rejects-00001-of-00002.jsonl"]


def test_a_glob_matches_all_of_them() -> None:
    assert any_of(f"folder/{PATTERN}") == "folder/rejects-*.jsonl"


def test_files_of_a_table_are_found_in_order_with_their_count() -> None:
    others = ["rejects-0-of-1.jsonl", "old/rejects-00000-of-00001.jsonl", "rejects-00000-of-00002.jsonl.tmp"]
    names = [*names_of(PATTERN, 12)[::-1], "manifest-00000-of-00002.parquet", "rejects-00000-of-00003xjsonl"]
    assert list(named_like(PATTERN, [*names, *others]).items()) == [(name, 12) for name in names_of(PATTERN, 12)]
