"""Terms of every origin and the classes that they stand for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pipelines.domain import taxonomy
from tests.support.class_names import classes


@pytest.mark.parametrize(
    ("label", "isic9", "isic2019", "ham7", "malignant"),
    [
        ("mel", "melanoma", "melanoma", "mel", "malignant"),
        ("Melanoma in situ", "melanoma", "melanoma", "mel", "malignant"),
        ("NV", "nevus", "nevus", "nv", "benign"),
        ("Basal_Cell-Carcinoma", "basal cell carcinoma", "basal cell carcinoma", "bcc", "malignant"),
        ("Solar or actinic keratosis", "actinic keratosis", "actinic keratosis", "akiec", None),
        ("akiec", "actinic keratosis", "actinic keratosis", "akiec", None),
        ("SCC", "squamous cell carcinoma", "squamous cell carcinoma", None, "malignant"),
        ("bkl", "pigmented benign keratosis", "benign keratosis", "bkl", "benign"),
        ("seborrheic keratosis", "seborrheic keratosis", "benign keratosis", "bkl", "benign"),
        ("Benign soft tissue proliferations - Vascular", "vascular lesion", "vascular lesion", "vasc", "benign"),
        ("Scar", None, None, None, "benign"),
        ("UNK", None, None, None, None),
        ("anything else", None, None, None, None),
    ],
)
def test_each_term_in_each_class_set(
    label: str, isic9: str | None, isic2019: str | None, ham7: str | None, malignant: str | None
) -> None:
    for name, expected in (("isic9", isic9), ("isic2019", isic2019), ("ham7", ham7), ("malignant", malignant)):
        assert (classes(name, label) or (None,))[0] == expected, name


def test_the_table_is_consistent() -> None:
    terms = Counter(taxonomy.normalize_term(term) for line in taxonomy.TABLE for term in line.terms)
    assert [term for term, count in terms.items() if count > 1] == []
    for name, members in taxonomy.CLASS_SETS.items():
        used = {member for line in taxonomy.TABLE for member in getattr(line, name)}
        assert used == set(members), name
        assert all(classes(name, member)[0] == member for member in members)


def test_the_documented_table_is_the_table() -> None:
    documented = Path(__file__).resolve().parents[3] / "docs" / "taxonomy.md"
    assert documented.read_text(encoding="utf-8") == taxonomy.markdown()


def test_the_most_precise_label_that_stands_for_a_class_is_taken() -> None:
    assert classes("isic9", "Nevus, NOS, Junctional", "Nevus", "Benign") == ("nevus",)
    assert classes("malignant", "unknown", "benign") == ("benign",)
    assert classes("isic9", "unknown", "benign") == ()
