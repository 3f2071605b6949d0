"""Text that a spreadsheet would run is shown instead."""

from __future__ import annotations

import pytest

from pipelines.common.spreadsheets import as_text


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"])  # noqa: RUF001
def test_text_like_a_formula_gets_an_apostrophe(cell: str) -> None:
    assert as_text(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "a=1", "/a", "gs://b/-1", -1, -0.5, None, True])
def test_other_cells_stay_as_they_are(cell: object) -> None:
    assert as_text(cell) is cell
