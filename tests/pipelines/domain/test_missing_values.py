"""What stands for nothing, and for yes and no."""

from __future__ import annotations

import pytest

from pipelines.domain.missing_values import MISSING, flag_of, is_missing, is_no_id


@pytest.mark.parametrize(
    "text",
    [
        *sorted(MISSING), "", " ", "\u00a0", "NA", "#N/A", "<NA>", "None", "null", "NULL", "nan", "NaN", "N/A", "-",
        "Unknown", "missing", "#REF!", "\\N", "\u2014", '"NA"', "n.a.", "NaT", "#DIV/0!", "(null)",
        "#NV", "#BEZUG!", "#\u00a1REF!", "unbekannt", "k. A.", "Desconocido",
    ],
)  # fmt: skip
def test_what_people_and_programs_write_for_nothing_is_nothing(text: str) -> None:
    assert is_missing(text)
    assert is_no_id(text)
    assert flag_of(text) is None


@pytest.mark.parametrize("text", ["0", "-1", " 0 ", "-1.0", "-9", "-999.0"])
def test_numbers_for_nothing_are_nothing_as_ids_alone(text: str) -> None:
    assert is_no_id(text)
    assert not is_missing(text)


@pytest.mark.parametrize("text", ["1", "10", "00", "HAM_0000118", "nevus", "IL_0", "nano", "a", "Nan Li"])
def test_what_may_be_an_id_is_one(text: str) -> None:
    assert not is_no_id(text)


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        *[("1", "0"), ("1.0", "0.0"), ("True", "False"), ("TRUE", "FALSE"), ("yes", "no"), ("1,0", "0,0")],
        *[("WAHR", "FALSCH"), ("ja", "nein"), ("VERDADERO", "FALSO"), ("si\u0301", "no"), ("VRAI", "FAUX")],
    ],
)
def test_yes_and_no_are_understood_however_they_are_written(yes: str, no: str) -> None:
    assert (flag_of(yes), flag_of(f" {no} ")) == (True, False)
    assert (flag_of("0.5"), flag_of("maybe"), flag_of("2"), flag_of("")) == (None,) * 4
