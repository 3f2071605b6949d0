"""One file of each image is kept, whatever the order of files."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

from pipelines.curation.deduplicate import DeduplicateImages, image_keys, merge_files
from pipelines.dataset.image_row import SIDES, ImageRow
from pipelines.domain.labels import Claim
from tests.support.collecting import run


def row(relative: str, sha256: str, label: str = "nevus", **values: Any) -> ImageRow:
    return ImageRow(
        f"/a/{relative}",
        relative,
        sha256=sha256,
        claims=(Claim("folder", (label,), (label,)),),
        **{"width": 10, "height": 10, **values},
    )


def test_one_image_in_two_downloads_is_kept_once_at_its_best() -> None:
    rows = [
        row("small/ISIC_0000001.jpg", "1", lesion_ids=("IL_1",)),
        row("large/ISIC_0000001.jpg", "2", width=600, height=450, licenses=("CC-0",)),
        row("ISIC_0000001(1).jpg", "1"),
    ]
    for order in itertools.permutations(rows):
        kept, *others = merge_files(order)
        assert (kept.relative, kept.lesion_ids, kept.licenses) == ("large/ISIC_0000001.jpg", ("IL_1",), ("CC-0",))
        assert {other.reason for other in others} == {"same_image"}
    first, second = merge_files([rows[0], rows[2]])
    assert (first.outcome, second.reason) == ("", "duplicate")


def test_duplicates_keep_the_original_name_and_the_side_that_is_asked_for() -> None:
    kept, dropped = merge_files([row("x/ISIC_0025509(1).jpg", "1"), row("x/ISIC_0025509.jpg", "1")])
    assert (kept.relative, dropped.outcome) == ("x/ISIC_0025509.jpg", "duplicate")
    rows = [row("Test/a.jpg", "1", given_split="test"), row("Train/aa.jpg", "1", given_split="train"), row("b", "1")]
    for on_leakage, place in (("remove_from_test", "Train/aa.jpg"), ("remove_from_train", "Test/a.jpg")):
        for order in itertools.permutations(rows):
            kept, *others = merge_files(order, sides=SIDES[on_leakage])
            assert (kept.relative, {other.outcome for other in others}) == (place, {"duplicate"})


def test_a_photograph_is_kept_rather_than_one_that_is_drawn_over() -> None:
    rows = [row("overlay/ISIC_0000001.jpg", "1", width=99), row("photographs/of/ISIC_0000001.jpg", "2")]
    for order in (rows, rows[::-1]):
        kept, other = merge_files(order)
        assert (kept.relative, other.reason) == ("photographs/of/ISIC_0000001.jpg", "same_image")


def test_two_labels_reject_every_file_of_the_image() -> None:
    rows = [row("nevus/a.jpg", "1"), row("nevus/b.jpg", "1"), row("mel/a.jpg", "1", label="melanoma")]
    assert [r.reason for r in merge_files(rows)] == ["label_conflict"] * 3


def test_files_are_one_image_by_their_bytes_or_their_isic_id() -> None:
    rows = [
        row("a/ISIC_0000001.jpg", "1"),
        row("b/ISIC_0000001_downsampled.jpg", "2"),
        row("c/copy of it.jpg", "2"),
        row("c/1.jpg", "3"),
        row("d/1.jpg", "4"),
    ]
    for order in (rows, rows[::-1]):
        found = run(order, DeduplicateImages())
        assert Counter(one.outcome for one in found) == {"": 3, "duplicate": 2}
        images: dict[str, set[str]] = {}
        for one in found:
            images.setdefault(one.image_of, set()).add(one.relative)
        assert sorted(map(len, images.values())) == [1, 1, 3]
        kept = {one.relative for one in found if not one.outcome}
        # The shortest name of equally large ones.
        assert kept == {"c/1.jpg", "d/1.jpg", "c/copy of it.jpg"}
        assert {one.label for one in found} == {"nevus"}


def test_only_isic_ids_identify_an_image_beyond_its_bytes() -> None:
    assert image_keys(row("x/isic_0000007(2).png", "1")) == ["ISIC_0000007"]
    assert image_keys(row("x/7.png", "1")) == []
