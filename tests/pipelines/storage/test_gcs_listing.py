"""A bucket in parts: every object once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipelines.storage.gcs_listing import list_range, ranges
from tests.support.gcs import local_gcs, open_bucket

BUCKET = "ranges"
# More than a page of a listing, with names before, between and after the limits of ranges.
NAMES = [f"in/ISIC_{n:07d}.jpg" for n in range(0, 10_000_000, 900_000)]
NAMES += [f"in/{name}" for name in ("!first", "Z", "a/b.jpg", "z/", "\u76ae.jpg", "~last", "~/")]


@pytest.fixture(scope="module", autouse=True)
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with (
        local_gcs(tmp_path_factory.mktemp("gcs"), BUCKET, page=5) as environment,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        opened = open_bucket(environment, BUCKET)
        for name in (*NAMES, "other/a.jpg", "one/a.jpg"):
            opened.blob(name).upload_from_string(name)
        yield


@pytest.mark.parametrize("split", [True, False])
def test_ranges_hold_every_object_of_a_prefix_once(split: bool) -> None:
    found = ranges(BUCKET, "in/", split)
    assert (len(found) > 60) == split
    names = [name for part in found for name, _ in list_range(part)]
    # What stands for a folder is no file.
    assert sorted(names) == sorted(name for name in NAMES if not name.endswith("/"))


def test_a_listing_of_one_page_is_not_split_and_one_of_nothing_has_no_range() -> None:
    (found,) = ranges(BUCKET, "one/", True)
    assert [name for name, _ in list_range(found)] == ["one/a.jpg"]
    assert ranges(BUCKET, "nothing/", True) == []


def test_an_object_has_its_size_and_a_version() -> None:
    ((_, state),) = (item for part in ranges(BUCKET, "one/", True) for item in list_range(part))
    assert state.size == len("one/a.jpg")
    assert state.version.startswith("generation:")
