"""What a dataset knows of its images, so that an update need not decode them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam

from pipelines.curation.decode_cache import (
    CachedImage,
    MakeDecodeCache,
    UseDecodeCache,
    cache_bytes,
    is_readable_cache,
    read_cache,
)
from pipelines.dataset.image_row import Stored
from tests.support.collecting import run, run_with
from tests.support.image_rows import row

STORED = Stored("train-00000-of-00001.tfrecord", (0, 900), (1, 2, 3, 4, 5, 6))
IMAGES = [
    CachedImage("aa", "jpeg", 60, 40, 1 << 62, b"\0thumbnail\xff", STORED),
    CachedImage("bb", "png", 1, 2, 0, b"t"),
]
FILE = "known-00000-of-00001.parquet"


def test_known_images_come_back_from_their_file(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(cache_bytes(IMAGES))
    assert list(read_cache(str(tmp_path / FILE))) == [(one.sha256, one) for one in IMAGES]


def test_a_damaged_cache_is_not_readable_and_a_missing_one_is_empty(tmp_path: Path) -> None:
    assert is_readable_cache(str(tmp_path))
    data = cache_bytes(IMAGES)
    (tmp_path / FILE).write_bytes(data)
    assert is_readable_cache(str(tmp_path))
    (tmp_path / FILE).write_bytes(data[: len(data) // 2])
    assert not is_readable_cache(str(tmp_path))


class _Use(beam.PTransform):
    """Rows that the cache completes, marked by their outcome, and the others."""

    def __init__(self, folder: str):
        super().__init__()
        self._folder = folder

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        found = rows | UseDecodeCache(self._folder)
        known = found.rows | "Mark" >> beam.Map(lambda one: one._replace(message="known"))
        return (known, found.unknown) | beam.Flatten()


def test_rows_are_completed_by_their_content_and_the_others_are_decoded(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(cache_bytes(IMAGES))
    rows = [row("1", sha256="aa"), row("2", sha256="aa", size=7), row("3", sha256="cc")]
    found = {one.relative: one for one in run(rows, _Use(str(tmp_path)))}
    assert found["3"] == rows[2]
    decoded: dict[str, Any] = {
        "format": "jpeg",
        "width": 60,
        "height": 40,
        "phash": 1 << 62,
        "thumbnail": b"\0thumbnail\xff",
    }
    for before in rows[:2]:
        assert found[before.relative] == before._replace(**decoded, stored=STORED, message="known")


def test_every_content_that_can_be_decoded_is_kept_once_with_its_records() -> None:
    decoded: dict[str, Any] = {"format": "jpeg", "width": 60, "height": 40, "phash": 5, "thumbnail": b"t"}
    checked = [row("1", sha256="aa", **decoded), row("2", sha256="aa", **decoded), row("3", sha256="bb", **decoded)]
    checked.append(row("4", sha256="cc").rejected("check", "undecodable", "no"))
    finished = [checked[0]._replace(outcome="written", stored=STORED), checked[1]._replace(outcome="duplicate")]
    kept = run_with(checked, finished, MakeDecodeCache())
    assert sorted(kept) == [CachedImage("aa", **decoded, stored=STORED), CachedImage("bb", **decoded)]
