"""Tables from their bytes, as programs and people write them."""

from __future__ import annotations

import pytest

from pipelines.common.csv_tables import TableError
from pipelines.common.tables import column_key, header_of, names_at, overview_of, rows_of
from tests.support.workbook_files import Cell, xlsx

TABLE = [["isic_id", "dx", "attribution"], ["ISIC_1", "nv", "Hospital Clínic; Barcelona"], ["ISIC_2", "mel", "a,b"]]
ROWS = [dict(zip(TABLE[0], row, strict=True)) for row in TABLE[1:]]


def text(delimiter: str, end: str = "\n") -> str:
    def cell(value: str) -> str:
        return f'"{value}"' if delimiter in value else value

    return "".join(delimiter.join(map(cell, row)) + end for row in TABLE)


def test_rows_are_dictionaries_and_a_byte_order_mark_is_skipped() -> None:
    data = '\ufeffid,dx\r\n1,nv\r\n"2","a, ""b""\nc"\r\n'.encode()
    assert list(rows_of(data)) == [{"id": "1", "dx": "nv"}, {"id": "2", "dx": 'a, "b"\nc'}]
    assert header_of(data) == ["id", "dx"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "holds no rows"),
        (b"id,dx\n", "holds no rows"),
        (b"\xff\xfei\0d\0", "holds no rows"),
        (b"\xff\xfei\0d\0\n", "no text in UTF-16 (truncated data)"),
        (b"\x89PNG\r\n\x1a\n\0\x0d", "no text, but binary data"),
        (b"id,dx\n\x811,nv\n", "no text in UTF-8, UTF-16 or Windows-1252"),
        (b"PK\x03\x04" + bytes(40), "not a workbook, or a damaged one (Cannot detect file format)"),
        (b"id,Lesion ID,lesion_id\n1,2,3\n", "two columns are named 'Lesion ID' and 'lesion_id'; rename one"),
        (b"id,dx, dx\n1,2,3\n", "two columns are named 'dx'; rename one"),
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


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_encoding_and_delimiter_are_found_by_looking(delimiter: str, encoding: str) -> None:
    for end in ("\n", "\r\n", "\r"):
        data = text(delimiter, end).encode(encoding)
        assert list(rows_of(data)) == ROWS
        assert names_at(data[: 5 * len(data) // 6]) == TABLE[0]
        names, note = overview_of(data)
        assert (names, "Windows-1252" in note) == (TABLE[0], encoding == "cp1252")


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        ("id,dx (a; b; c)\n1,a; b; c\n2,a\n", [["1", "a; b; c"], ["2", "a"]]),
        ("id;MEL;NV\n1;0,0;1,0\n2;1,0;0,0\n", [["1", "0,0", "1,0"], ["2", "1,0", "0,0"]]),
        ("id;site, side;dx\n1;arm, left;nv\n", [["1", "arm, left", "nv"]]),
        ('"id";"a;b"\n"1";"c;d"\n', [["1", "c;d"]]),
        ("id,dx\n1,nv,\n2,mel,,\n", [["1", "nv"], ["2", "mel"]]),
        ("id\n1;2\n", [["1;2"]]),
        ("sep=;\nid;dx\n1;nv\n", [["1", "nv"]]),
        ("sep=|\r\nid|dx\r\n1|nv\r\n", [["1", "nv"]]),
        ("\n , \n id , dx\n\n1,nv\n,\n2\n", [["1", "nv"], ["2"]]),
    ],
)
def test_the_delimiter_is_the_one_on_which_header_and_rows_agree(data: str, rows: list[list[str]]) -> None:
    assert [list(row.values()) for row in rows_of(data.encode())] == rows


def test_an_open_quote_is_found_with_any_delimiter() -> None:
    with pytest.raises(TableError, match="line 2: a quote is not closed"):
        header_of(b'id;dx\n1;"nv\n2;mel\n')


def test_the_first_sheet_of_a_workbook_is_a_table_with_ids_as_they_look() -> None:
    rows: list[list[Cell]] = [
        [None] * 4,
        ["isic_id", " lesion_id", "MEL", "age"],
        ["ISIC_1", 17, True, 0.5],
        ["ISIC_2", None, False, 1],
    ]
    data = xlsx({"truth": rows, "empty": []})
    assert [list(row.values()) for row in rows_of(data)] == [
        ["ISIC_1", "17", "True", "0.5"],
        ["ISIC_2", "", "False", "1"],
    ]
    assert overview_of(data) == (["isic_id", "lesion_id", "MEL", "age"], "")
    assert names_at(data) == ["isic_id", "lesion_id", "MEL", "age"]
    assert overview_of(xlsx({"truth": rows, "notes": [["x"]]})).note == "has 2 sheets; only the first, 'truth', is read"
    with pytest.raises(TableError, match="holds no rows"):
        overview_of(xlsx({"truth": rows[:2]}))


@pytest.mark.parametrize("name", ["lesion_id", " Lesion_ID ", "Lesion ID", "lesion-id", "LESION  ID"])
def test_a_column_is_known_however_its_name_is_set(name: str) -> None:
    assert column_key(name) == "lesion_id"


def test_a_column_is_known_with_composed_and_with_decomposed_letters() -> None:
    assert column_key("Diagno\u0301stico") == column_key("diagn\u00f3stico")
