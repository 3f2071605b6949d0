"""The row that follows a file through prepare."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from pipelines.dataset.image_row import (
    REJECTED,
    ImageRow,
    Stored,
    Thumbnail,
    fold_name,
    is_open,
    parts_of,
    place_of,
)
from pipelines.domain.labels import Claim
from pipelines.storage.archive_member import DEFLATE, Member
from pipelines.storage.packs import Piece
from tests.support.image_rows import row


def test_a_rejected_row_says_why_and_is_in_no_split() -> None:
    before = row("a.jpg", split="train", fold=2, copies=3, lesion_ids=("L",))
    after = before.rejected("write", "changed", "replaced")
    assert (after.outcome, after.stage, after.reason, after.message) == (
        REJECTED,
        "write",
        "changed",
        "replaced",
    )
    assert (after.split, after.fold, after.copies) == ("", -1, 0)
    assert (after.path, after.lesion_ids) == (before.path, before.lesion_ids)
    assert is_open(before)
    assert not is_open(after)


def test_a_row_counts_in_its_split_and_in_its_fold() -> None:
    assert parts_of(row("a", split="test")) == ["test"]
    assert parts_of(row("a", split="train", fold=0)) == ["train", fold_name(0)] == ["train", "fold 0"]


def test_a_place_holds_what_opens_and_sorts_a_file() -> None:
    place = place_of(row("a.jpg", label="nevus"))
    assert (place.path, place.member, place.relative) == ("/archive/a.jpg", None, "a.jpg")


FULL = ImageRow(
    path="/archive/\udcff \U0001f642.zip!a.jpg",
    relative="a.jpg",
    member=Member("a.jpg", 1 << 40, 10, 20, DEFLATE, 1 << 31),
    source="archive",
    size=1 << 40,
    image_id="ISIC_0000001",
    tables=("one.csv", "two.csv"),
    claims=(Claim("folder", ("Nevus",), ("nevus", "melanoma"), ("archive",)), Claim("one.csv", (), ())),
    folder_split="train",
    given_split="test",
    given_fold=3,
    label="nevus",
    corrected_by=("ISIC_0000001",),
    correction="relabel",
    old_label="melanoma",
    sha256="ab" * 32,
    format="jpeg",
    width=600,
    height=450,
    phash=(1 << 63) - 1,
    quality=(0.5, 1.0),
    issues=("dark",),
    sketch=bytes(range(48)),
    thumbnail=Thumbnail("0.pack", Piece(0, 768, 1 << 31)),
    lesion_ids=("L1", "L2"),
    patient_ids=("P",),
    licenses=("CC-0",),
    attributions=("Anonymous",),
    image_of="/archive/b.jpg",
    group_id="g",
    split="train",
    fold=1,
    copies=3,
    stored=Stored("0.pack", (Piece(1 << 40, 9000, 0), Piece(7, 0, 1)), (1, 2, 3, 1 << 50, 5, 6)),
    outcome="written",
    stage="write",
    reason="changed",
    message="replaced",
)


def _types(value: Any) -> Any:
    return (type(value), [*map(_types, value)]) if isinstance(value, tuple) else type(value)


@pytest.mark.parametrize(
    "before", [FULL, row("a.jpg"), FULL._replace(claims=(), stored=None), FULL.rejected("a", "b", "c")]
)
def test_a_row_that_was_pickled_is_the_same_with_all_that_is_in_it(before: ImageRow) -> None:
    assert not [name for name, default in ImageRow._field_defaults.items() if getattr(FULL, name) == default]
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        after = pickle.loads(pickle.dumps(before, protocol))
        assert after == before
        assert _types(after) == _types(before)


def test_rows_are_small_where_they_wait() -> None:
    assert len(pickle.dumps(FULL, pickle.HIGHEST_PROTOCOL)) < 1000
