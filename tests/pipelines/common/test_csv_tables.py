"""CSV tables in messages."""

from __future__ import annotations

from pipelines.common.csv_tables import in_line


def test_column_names_come_in_one_line_cut_where_they_are_too_long() -> None:
    assert in_line(["a\nb", "c\udcff"]) == r"a b, c\xff"
    assert in_line(["long"] * 9, longest=8) == "long, lo..."
