"""Lists of paths as inputs; those in a bucket are in test_archives."""

from __future__ import annotations

import itertools
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.common.cli import UsageError
from pipelines.domain.image_ids import is_image_name
from pipelines.sources.list_files import list_files
from pipelines.storage import path_lists


def write(path: Path, content: bytes | str) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_a_list_is_known_by_its_name() -> None:
    assert all(map(path_lists.is_path_list, ["a.txt", "gs://b/a.CSV", "a.parquet"]))
    assert not any(map(path_lists.is_path_list, ["a.jpg", "txt", "a.zip", "a.csv/b.png"]))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_text_file_lists_a_path_a_line_without_comments(tmp_path: Path, end: str, mark: str) -> None:
    lines = [
        "# made by hand",
        "/data/b.jpg",
        "",
        "  ",
        "émile/naïve (1).JPG",
        "gs://bucket/x/a.jpg",
        "  # more",
        "/data/b.jpg",
    ]
    path = write(tmp_path / "list.txt", mark + end.join(lines))
    path_lists.require_path_list("--input", path)
    assert list(path_lists.list_paths(path)) == [
        "/data/b.jpg",
        f"{tmp_path}/émile/naïve (1).JPG",
        "gs://bucket/x/a.jpg",
        "/data/b.jpg",
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_csv_lists_the_paths_of_its_path_column(tmp_path: Path, end: str, mark: str) -> None:
    rows = ["", "path,label", '"a, b.jpg",nevus', "", "#1.jpg,nevus", ",melanoma", "c.jpg"]
    path = write(tmp_path / "list.csv", mark + end.join(rows))
    path_lists.require_path_list("--input", path)
    assert list(path_lists.list_paths(path)) == [f"{tmp_path}/{name}" for name in ("a, b.jpg", "#1.jpg", "c.jpg")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_lists_in_utf_16_and_with_other_delimiters_are_read(tmp_path: Path, encoding: str, delimiter: str) -> None:
    rows = ["", '"id";"filepath"', '"1";"größe/a, b.jpg"', "2;c.jpg"]
    table = "\r\n".join(rows).replace(";", delimiter)
    expected = [f"{tmp_path}/{name}" for name in ("größe/a, b.jpg", "c.jpg")]
    for number, content in enumerate((table.encode(encoding), table.encode("utf-8-sig"))):
        path = write(tmp_path / f"{number}.csv", content)
        path_lists.require_path_list("--input", path)
        assert list(path_lists.list_paths(path)) == expected
    path = write(tmp_path / "list.txt", "größe/a, b.jpg\r\nc.jpg\r\n".encode(encoding))
    assert list(path_lists.list_paths(path)) == expected


def test_quotes_around_a_path_in_a_text_file_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "list.txt", '"a b.jpg"\n \'c.jpg\n"d".jpg\n"\n')
    assert list(path_lists.list_paths(path)) == [f"{tmp_path}/{name}" for name in ("a b.jpg", "'c.jpg", '"d".jpg', '"')]


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("path,file", 0),
        ("file,path", 1),
        ("file_path,filename", 1),
        ("id,Image_Path", 1),
        ("id, FILE ", 1),
        ("file_path,id", 0),
    ],
)
def test_of_several_path_columns_the_best_known_is_taken_in_any_case(tmp_path: Path, header: str, taken: int) -> None:
    path = write(tmp_path / "list.csv", f"{header}\n/a.jpg,/b.jpg\n")
    assert list(path_lists.list_paths(path)) == [("/a.jpg", "/b.jpg")[taken]]


def write_parquet(path: Path, columns: dict[str, Any], **options: int) -> str:
    pq.write_table(pa.table(columns), path, **options)
    return str(path)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_a_parquet_file_lists_the_paths_of_its_path_column(tmp_path: Path, kind: Any | Any) -> None:
    paths = pa.array(["a.jpg", None, "", " b, c.jpg ", "/data/#1.jpg", "a.jpg", "gs://bucket/x.jpg"], pa.string())
    path = write_parquet(tmp_path / "list.parquet", {"n": list(range(7)), "Path": paths.cast(kind)}, row_group_size=2)
    path_lists.require_path_list("--input", path)
    expected = ["a.jpg", "b, c.jpg", "/data/#1.jpg", "a.jpg", "gs://bucket/x.jpg"]
    assert list(path_lists.list_paths(path)) == [
        name if name.startswith(("/", "gs:")) else f"{tmp_path}/{name}" for name in expected
    ]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"id": ["1"]}, "needs a column path or file or filename .*; it has id"),
        ({"path": [1, 2]}, "its column path holds int64, not text"),
        ({"path": pa.array([], pa.string())}, "lists no path"),
        ({"path": pa.array([None, ""], pa.string())}, "lists no path"),
    ],
)
def test_what_is_no_parquet_list_is_refused(tmp_path: Path, columns: dict[str, Any], says: str) -> None:
    path = write_parquet(tmp_path / "a.parquet", columns)
    with pytest.raises(UsageError, match=says):
        path_lists.require_path_list("--input", path)


def test_a_damaged_parquet_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", b"PAR1 and no more")
    with pytest.raises(UsageError, match=r"a\.parquet: not a Parquet file") as caught:
        path_lists.require_path_list("--input", path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["footer", "data"])
def test_a_parquet_with_damaged_bytes_is_refused_in_one_line(tmp_path: Path, place: str) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, {"path": [f"images/{n}.jpg" for n in range(500)]})
    data = bytearray(path.read_bytes())
    start = len(data) - 300 if place == "footer" else 12
    data[start : start + 20] = b"\xff" * 20
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"^--input .*a\.parquet: ") as caught:
        path_lists.require_path_list("--input", str(path))
    assert "\n" not in str(caught.value)


def test_a_parquet_in_a_folder_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    write_parquet(tmp_path / "list.parquet", {"path": ["a.jpg", "b.jpg"]})
    assert [file.relative for file in list_files(str(tmp_path)) if is_image_name(file.path)] == ["a.jpg"]
    assert [file.path for file in list_files(str(tmp_path / "list.parquet"))] == [
        str(tmp_path / name) for name in ("a.jpg", "b.jpg")
    ]


def test_a_list_that_is_a_table_yields_each_path_with_its_row(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    text = "label ;path\nmel;a.jpg\n;\nnv;train\\b.jpg\nbcc;/c.jpg;more\nshort\n"
    as_csv = write(tmp_path / "list.csv", text.encode("utf-16"))
    columns = {"label": ["mel", None, "nv", "bcc"], "path": ["a.jpg", "", "train\\b.jpg", "/c.jpg"], "x": [[1]] * 4}
    parquet = write_parquet(tmp_path / "list.parquet", columns)
    for path in (as_csv, parquet):
        assert path_lists.list_columns(path) == ["path", "label"]
        rows = list(path_lists.list_rows(path))
        assert [name for name, _ in rows] == list(path_lists.list_paths(path))
        assert [(name, row["label"]) for name, row in rows] == [
            (f"{tmp_path}/a.jpg", "mel"),
            (f"{tmp_path}/train/b.jpg", "nv"),
            ("/c.jpg", "bcc"),
        ]
    assert path_lists.list_columns(write(tmp_path / "list.txt", "a.jpg\n")) == []


def test_relative_paths_are_the_lists_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lists").mkdir()
    path = write(tmp_path / "lists" / "a.txt", "./x//a.jpg\n../b.jpg\n")
    assert list(path_lists.list_paths(path)) == [f"{tmp_path}/lists/x/a.jpg", f"{tmp_path}/b.jpg"]
    monkeypatch.chdir(tmp_path / "lists")
    assert list(path_lists.list_paths("a.txt")) == [os.path.join("x", "a.jpg"), os.path.join("..", "b.jpg")]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "id,name\n1,2\n", "needs a column path or file or filename .*; it has id, name"),
        ("a.csv", "id;name\n1;2\n", "it has id;name"),
        ("a.csv", "", "lists no path"),
        ("a.csv", "path\n", "lists no path"),
        ("a.csv", 'path\n"' + "x" * 200_000 + '"\n', "not a CSV file"),
        ("a.txt", "", "lists no path"),
        ("a.txt", "# nothing\n\n", "lists no path"),
        ("a.txt", b"\xff\xfea\0.\0j", "not a UTF-8 text file .*save it as UTF-8"),
        ("a.txt", b"a.jpg\n" * 50_000 + "größe.jpg".encode("latin-1"), "not a UTF-8 text file"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, name: str, content: bytes | str, says: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(UsageError, match=says) as caught:
        path_lists.require_path_list("--input", path)
    assert str(caught.value).startswith(f"--input {path}: ")
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--input .*none\.txt: cannot be read: No such file"):
        path_lists.require_path_list("--input", str(tmp_path / "none.txt"))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        path_lists.require_path_list("--input", str(tmp_path / "folder.csv"))


@pytest.mark.parametrize("name", ["a.txt", "a.csv"])
def test_long_lists_are_streamed(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with open(path, "w") as file:
        file.write("path\n")
        file.writelines(f"/archive/images/ISIC_{number:07d}.jpg\n" for number in range(100_000))
    tracemalloc.start()
    assert sum(1 for _ in itertools.islice(path_lists.list_paths(str(path)), 100_000)) == 100_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < path.stat().st_size / 4
    first = path_lists.list_paths(str(path))
    assert next(first).endswith("path" if name == "a.txt" else "ISIC_0000000.jpg")


def test_a_metadata_table_is_no_list_of_paths(shared_data: Path) -> None:
    with pytest.raises(UsageError, match="needs a column path"):
        path_lists.require_path_list("--input", str(shared_data / "tables" / "HAM10000_metadata.csv"))
