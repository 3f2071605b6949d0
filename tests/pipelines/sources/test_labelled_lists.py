"""Lists of paths with columns that say what the images show."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from pipelines.domain.metadata_columns import Columns
from pipelines.sources.labelled_lists import list_facts
from tests.support.source_files import completed, tables, write


@pytest.mark.parametrize(
    ("header", "row", "labels"),
    [
        ("path,label", "a.jpg,mel", ("mel",)),
        ("Path,Class,label_source", "a.jpg,mel,histology", ("mel",)),
        ("diagnosis;label;file", "nevus;0;a.jpg", ("nevus",)),
        ("image_path,dx_mel,dx_nv", "a.jpg,0,1", ("NV",)),
        ("path,target", "a.jpg,1", ("malignant",)),
    ],
)
@pytest.mark.parametrize("layout", ["", "table="])
def test_a_column_beside_the_paths_is_read_as_a_table_has_it(
    tmp_path: Path, header: str, row: str, labels: tuple[str, ...], layout: str
) -> None:
    write(tmp_path / "a.jpg", "x")
    path = write(tmp_path / "list.csv", f"{header}\n{row}\n")
    (source,) = completed([f"{layout}{path}"]).sources
    (table,) = source.tables
    ((image, facts),) = list_facts(table.path, table.columns, table.name)
    assert (image, facts.source, facts.labels + facts.hot) == ("a", "list.csv", labels)


def test_a_list_without_such_a_column_is_no_table(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", "x")
    path = write(tmp_path / "list.csv", "path,size\na.jpg,1\n")
    text = write(tmp_path / "list.txt", "a.jpg\n")
    assert tables(completed([path])) == tables(completed([text])) == [[]]
    named = write(tmp_path / "named.csv", "path,finding,label\na.jpg,nv,mel\n")
    (source,) = completed([named], columns=Columns(label="finding")).sources
    ((_, facts),) = list_facts(named, source.tables[0].columns, "named.csv")
    assert facts.labels == ("nv",)
    for other in (path, text):
        with pytest.raises(UsageError, match="layout table needs a table"):
            completed([f"table={other}"])
    assert tables(completed([f"folders={named}"])) == [[]]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("path,label\nphotos,mel\n", "says 'mel' of .*/photos, which is no single file; list its files"),
        ("path,label\nphotos/*.jpg,mel\n", r"says 'mel' of .*/photos/\*.jpg, which is no single file"),
        ("path,lesion_id\nin.zip,L1\n", r"says 'L1' of .*/in.zip, which is no single file"),
        ("path,label,Label\nphotos/a.jpg,mel,nv\n", "two columns are named 'label' and 'Label'; rename one"),
        ("path,MEL,NV,Melanoma\nphotos/a.jpg,1,0,0\n", "columns MEL and Melanoma are both for melanoma"),
    ],
)
def test_a_list_whose_labels_cannot_be_right_is_refused_in_a_line(tmp_path: Path, rows: str, says: str) -> None:
    write(tmp_path / "photos" / "a.jpg", "x")
    path = write(tmp_path / "list.csv", f"{rows}photos/a.jpg,\n")
    with pytest.raises(UsageError, match=f"^--input {path}: {says}") as refused:
        completed([path])
    assert "\n" not in str(refused.value)


def test_what_holds_several_files_may_stand_in_a_labelled_list_without_a_label(tmp_path: Path) -> None:
    write(tmp_path / "nevus" / "a.jpg", "x")
    write(tmp_path / "b", "x")
    path = write(tmp_path / "list.csv", "path,label\nnevus,\nnevus/a.jpg,mel\nb,mel\n")
    assert tables(completed([path])) == [[path]]
