"""The row that follows a file through prepare."""

from __future__ import annotations

from pipelines.dataset.image_row import REJECTED, fold_name, is_open, parts_of, place_of
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
