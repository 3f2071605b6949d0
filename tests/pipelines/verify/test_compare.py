"""What differs between two datasets."""

from __future__ import annotations

import pytest

from pipelines.verify.compare import Image, changes_of

WRITTEN = Image("a", "written", "", "nevus", "train", 0, 3, "g", "")


REJECTED = Image("a", "rejected", "leakage", "nevus", "", -1, 0, "", "")


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        (WRITTEN, WRITTEN, set()),
        (WRITTEN, REJECTED, {"outcome"}),
        (WRITTEN, REJECTED._replace(label=""), {"outcome"}),
        (REJECTED, WRITTEN._replace(label="melanoma"), {"outcome", "label"}),
        (REJECTED, REJECTED._replace(reason="undecodable"), {"outcome"}),
        (WRITTEN, WRITTEN._replace(split="test", fold=-1, copies=1), {"split", "copies"}),
        (WRITTEN, WRITTEN._replace(fold=1), {"fold"}),
        (WRITTEN, WRITTEN._replace(lesion="L"), {"group"}),
        (WRITTEN, WRITTEN._replace(id="b"), {"id"}),
    ],
)
def test_what_changed_of_an_image_is_said_once(before: Image, after: Image, kinds: set[str]) -> None:
    assert set(changes_of(before, after)) == kinds
