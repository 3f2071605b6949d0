"""The classes that figures are of: names, places and members."""

from __future__ import annotations

import pytest

from trainer.evaluate.judged_classes import judged_classes, labels_named

CLASSES = ("actinic keratosis", "nevus", "pigmented benign keratosis", "seborrheic keratosis", "this or that")


def test_joined_classes_stand_where_the_first_of_them_stood() -> None:
    assert judged_classes(CLASSES).names == CLASSES
    judged = judged_classes(CLASSES, [(3, 2)])
    assert judged.names == (
        "actinic keratosis",
        "nevus",
        "pigmented benign keratosis or seborrheic keratosis",
        "this or that",
    )
    assert judged.members == ((0,), (1,), (2, 3), (4,))


@pytest.mark.parametrize("joined", [(0, 1), (2, 3), (1, 2, 4), (3, 4)])
def test_a_joined_name_says_its_members(joined: tuple[int, ...]) -> None:
    (name,) = (one for one in judged_classes(CLASSES, [joined]).names if one not in CLASSES)
    assert labels_named(name, CLASSES) == joined
    assert labels_named(f"{name} or moon", CLASSES) == ()
