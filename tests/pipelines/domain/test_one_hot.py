"""Which columns of a table are one-hot, and what each stands for."""

from __future__ import annotations

import pytest

from pipelines.domain.metadata_columns import Columns, hot_of, one_hot_columns
from tests.support.class_names import classes

NINE = (
    *("Melanoma", "Melanocytic nevus", "Basal cell carcinoma", "Actinic keratosis", "Benign keratosis"),
    *("Dermatofibroma", "Vascular lesion", "Squamous cell carcinoma"),
)


@pytest.mark.parametrize(
    ("header", "terms"),
    [
        ("image,MEL,NV,UNK", ("MEL", "NV", "UNK")),
        ("image,MEL", ("MEL",)),
        (",".join(("image", *NINE)), NINE),
        ("image,dx_mel,dx_NV,dx_type_histo", ("MEL", "NV")),
        ("image,is_mel,is_nv,lesion_id", ("MEL", "NV")),
        ("image,class.Melanocytic.nevi,class.Actinic.keratoses", ("Melanocytic nevi", "Actinic keratoses")),
        ("image,target melanoma,target nevus,target", ("melanoma", "nevus")),
        ("image,isMelanoma,isBasalCellCarcinoma", ("Melanoma", "Basal Cell Carcinoma")),
        ("image,Melanom,N\u00e4vus", ("Melanom", "N\u00e4vus")),
        ("image,nevus,blue nevus,melanoma", ("nevus", "blue nevus", "melanoma")),
        ("image,benign,malignant", ("benign", "malignant")),
        # What sums up the others is no further class.
        ("image,melanoma,nevus,malignant", ("melanoma", "nevus")),
    ],
)
def test_one_hot_columns_are_named_after_diagnoses_in_words_or_behind_a_prefix(
    header: str, terms: tuple[str, ...]
) -> None:
    found = one_hot_columns(header.split(","))
    assert (tuple(found.terms.values()), found.ambiguous) == (terms, "")
    for column, term in found.terms.items():
        assert hot_of({"image": "a", **dict.fromkeys(found.terms, "0"), column: "1.0"}, Columns()) == (term,)
    assert all(classes("isic9", term) for term in terms if term not in ("UNK", "benign", "malignant"))


@pytest.mark.parametrize(
    "header",
    [
        "image,melanoma",  # one of them may mean anything
        "image,pred_mel,pred_nv",  # an answer
        "image,diagnosis_1_Benign,diagnosis_1_Malignant",
        "isic_id,nevus_type,mel_class,mel_thick_mm,melanocytic",
        "image,dx,melanoma,nevus",  # the last two may be the history: `dx` names the diagnosis
        "image,keratosis,other",
    ],
)
def test_other_columns_are_not_taken_for_one_hot(header: str) -> None:
    assert one_hot_columns(header.split(",")) == ({}, "")


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (
            "image,label_mel,label_nv,target_mel,target_nv",
            "columns label_mel, ... and target_mel, ... both say classes",
        ),
        ("image,MEL,NV,truth_MEL,truth_NV", "columns MEL, ... and truth_MEL, ... both say classes"),
        ("image,MEL,NV,Melanoma", "columns MEL and Melanoma are both for melanoma"),
        ("image,Melanoma,Nevus,Keratoses", "column Keratoses may be actinic keratosis or benign keratosis"),
        (
            "image,is_mel,is_nv,is_carcinoma",
            "column is_carcinoma may be basal cell carcinoma or squamous cell carcinoma",
        ),
    ],
)
def test_columns_that_could_both_say_the_class_are_ambiguous(header: str, says: str) -> None:
    assert one_hot_columns(header.split(",")).ambiguous == says
