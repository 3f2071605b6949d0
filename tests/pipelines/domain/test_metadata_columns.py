"""What the columns of metadata tables mean."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.domain.metadata_columns import Columns, facts_of, has_facts, hot_of, labels_of, normalize_license


@pytest.mark.parametrize(
    ("row", "labels"),
    [
        ({"diagnosis_1": "Benign", "diagnosis_3": " Nevus ", "diagnosis_2": ""}, ("Nevus", "Benign")),
        ({"target": "1", "dx": "mel"}, ("mel", "malignant")),
        ({"target": "2", "dx": None}, ()),
    ],
)
def test_labels_come_most_specific_first(row: dict[str, Any], labels: tuple[str, ...]) -> None:
    assert labels_of(row, Columns()) == labels


@pytest.mark.parametrize(
    ("row", "hot"),
    [
        ({"MEL": "0.0", "NV": "1.0", "UNK": "1"}, ("NV", "UNK")),
        ({"MEL": "False", "NV": "True"}, ("NV",)),
        ({"mel ": "no", " Nv": "YES", "bcc": "n"}, ("NV",)),
        ({"MEL": "0,0", "NV": "1,0", "BCC": " 1.000 "}, ("NV", "BCC")),
        ({"MEL": "0.93", "NV": "x", "BCC": "", "AK": "NA"}, ()),
    ],
)
def test_every_one_hot_column_that_holds_one_is_named(row: dict[str, str], hot: tuple[str, ...]) -> None:
    assert hot_of(row, Columns()) == hot
    assert hot_of(row, Columns(label="finding")) == ()


@pytest.mark.parametrize(("target", "labels"), [("True", ("malignant",)), ("0.0", ("benign",)), ("unknown", ())])
def test_a_target_is_yes_or_no(target: str, labels: tuple[str, ...]) -> None:
    assert labels_of({"Target": target}, Columns()) == labels


def test_a_named_label_column_speaks_alone() -> None:
    assert labels_of({"finding": "mel", "dx": "nv"}, Columns(label="finding")) == ("mel",)


@pytest.mark.parametrize("missing", ["", " ", "NA", "n/a", "None", "unknown", "-", "?", "0", "-1", "#REF!", "\\N"])
def test_placeholders_are_no_ids(missing: str) -> None:
    row = {"lesion_id": missing, "patient_id": " P1 ", "copyright_license": "CC-0", "attribution": "anna"}
    facts = facts_of(row, "t.csv", Columns())
    assert (facts.lesion_id, facts.patient_id, facts.license, facts.attribution) == ("", "P1", "CC-0", "anna")


def test_columns_that_a_table_lacks_fall_back_to_the_known_ones() -> None:
    given = Columns(id="file", label="finding", lesion="mole")
    assert given.among(["file", "dx"]) == Columns(id="file")
    assert given.id_column(["isic_id", "file"]) == "file"
    assert given.among(["isic_id"]).id_column(["isic_id", "image"]) == "isic_id"
    assert Columns().id_column(["name"]) is None
    assert Columns(id="file").among(["FILE "]).id_column(["FILE "]) == "FILE "
    assert Columns().id_column(["dx", "Image ID"]) == "Image ID"


def test_a_table_has_facts_where_any_column_says_something() -> None:
    assert has_facts(["isic_id", "dx"], Columns())
    assert not has_facts(["isic_id", "sex"], Columns())
    assert has_facts(["isic_id", "mole"], Columns(lesion="mole"))
    assert not has_facts(["isic_id", "dx"], Columns(label="finding"))


@pytest.mark.parametrize("text", ["CC-BY-NC", "cc by-nc", " Cc  By - nc "])
def test_a_licence_has_one_name_however_it_is_written(text: str) -> None:
    assert normalize_license(text) == "CC-BY-NC"
