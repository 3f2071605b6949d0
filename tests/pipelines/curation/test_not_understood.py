"""What is said of labels without a class."""

from __future__ import annotations

import pytest

from pipelines.curation.not_understood import nearest_class, not_understood
from tests.support.class_names import ISIC9


@pytest.mark.parametrize(
    ("label", "nearest"),
    [
        ("Melanocitic nevi", "nevus"),
        ("nevus pigmentosus", "nevus"),
        ("Naevus_folder", "nevus"),
        ("melanma", "melanoma"),
        ("Basalzelkarzinom", "basal cell carcinoma"),
        ("Gefa\u0308\u00dfleision", "vascular lesion"),
        ("Carcinoma basocelullar", "basal cell carcinoma"),
        ("seboreic keratosis", "seborrheic keratosis"),
        ("basal cell", "basal cell carcinoma"),
        ("carcinoma", ""),
        ("images", ""),
        ("cat", ""),
        # A diagnosis that is known to be of no class resembles none.
        ("epidermal nevus", ""),
    ],
)
def test_the_nearest_class_is_named_only_where_something_resembles_it(label: str, nearest: str) -> None:
    assert nearest_class(label, ISIC9) == nearest


def test_the_most_frequent_labels_are_named_with_their_files() -> None:
    assert not_understood([], ISIC9) == ""
    assert not_understood([("Melanocitic nevi", 10), ("dog", 9), ("", 8)], ISIC9) == (
        "; not understood: 'Melanocitic nevi' 10 (nearest 'nevus'), 'dog' 9, no label at all 8"
    )
    many = not_understood([(f"{n}\n" * 99, 1) for n in range(9)], ISIC9)
    assert many.endswith(" and 4 more")
    assert "\n" not in many
    assert len(many) < 500
