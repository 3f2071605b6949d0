"""CSV tables from their bytes."""

from __future__ import annotations

import pytest

from pipelines.common.csv_tables import TableError, header_of, in_line, rows_of


def test_rows_are_dictionaries_and_a_byte_order_mark_is_skipped() -> None:
    data = '\ufeffid,dx\r\n1,nv\r\n"2","a, ""b""\nc"\r\n'.encode()
    assert list(rows_of(data)) == [{"id": "1", "dx": "nv"}, {"id": "2", "dx": 'a, "b"\nc'}]
    assert header_of(data) == ["id", "dx"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "holds no rows"),
        (b"id,dx\n", "holds no rows"),
        (b"\xff\xfei\0d\0", "not a UTF-8 CSV file (invalid start byte)"),
        (b"id,dx,id\n1,2,3\n", "two columns are named 'id'; rename one"),
        (b'id,dx\n1,"nv\n2,mel\n', "not a CSV file (line 2: a quote is not closed)"),
    ],
)
def test_what_is_no_table_is_refused_with_a_short_reason(data: bytes, says: str) -> None:
    with pytest.raises(TableError) as refused:
        header_of(data)
    assert str(refused.value) == says


def test_columns_without_a_name_are_left_out() -> None:
    assert header_of(b"id,,dx,\n1,2,3,4\n") == ["id", "dx"]


def test_column_names_come_in_one_line_cut_where_they_are_too_long() -> None:
    assert in_line(["a\nb", "c\udcff"]) == r"a b, c\xff"
    assert in_line(["long"] * 9, longest=8) == "long, lo..."
