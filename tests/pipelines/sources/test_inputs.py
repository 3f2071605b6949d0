"""Inputs as a user names them: layouts, tables, columns, and the names of sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from pipelines.domain.metadata_columns import Columns
from pipelines.sources.inputs import Inputs, complete_inputs, parse_input, read_inputs, source_names, trusted_name
from pipelines.sources.source import Source
from tests.support.source_files import CLI, HAM, completed, tables, write


def test_a_layout_before_a_path(tmp_path: Path) -> None:
    assert parse_input("ham10000=a/b=c") == Source("a/b=c", "a/b=c", "ham10000")
    write(tmp_path / "year=2019" / "a.jpg", "x")
    for path in (f"{tmp_path}/year=2019", "gs://bucket/year=2019", "split=*/x.jpg"):
        assert parse_input(path) == Source(path, path)
    with pytest.raises(
        UsageError,
        match=r"ham=x: no such .* ham is no layout; .*folders, ham10000, .*isic_cli, .*table are",
    ):
        parse_input("ham=x")
    with pytest.raises(UsageError, match="names no path"):
        parse_input("folders=")
    with pytest.raises(UsageError, match=r"--input a\.yaml is needed"):
        parse_input("folders=a.yaml")


def test_the_same_input_again_is_one_and_in_two_ways_is_refused(tmp_path: Path) -> None:
    place = str(tmp_path)
    assert len(read_inputs([place, place, f"{place}/"], []).sources) == 1
    with pytest.raises(UsageError, match="named twice"):
        read_inputs([place, f"folders={place}"], [])


def test_a_named_layout_takes_its_table_from_metadata_too(tmp_path: Path) -> None:
    write(tmp_path / "in" / "ISIC_0000001.jpg", "x")
    table = write(tmp_path / "else" / "where" / "ham.csv", HAM)
    assert tables(completed([f"ham10000={tmp_path}/in"], [table])) == [[]]
    assert tables(completed([f"table={tmp_path}/in"], [table])) == [[]]
    with pytest.raises(UsageError, match=r"^--input .*/in: no ISIC 2018 table .* name it with --metadata"):
        completed([f"isic2018={tmp_path}/in"], [table])


def test_named_columns_are_for_the_tables_that_have_them(tmp_path: Path) -> None:
    write(tmp_path / "1.jpg", "x")
    found = write(tmp_path / "metadata.csv", CLI)
    mine = write(tmp_path / "mine.csv", "file,finding\n1.jpg,mel\n")
    options = completed([tmp_path], [mine], Columns(id="file", label="finding"))
    assert options.metadata[0].columns == Columns(id="file", label="finding")
    (table,) = options.sources[0].tables
    assert (table.path, table.columns, table.layout, table.found) == (found, Columns(), "isic_cli", True)
    write(tmp_path / "metadata.csv", "file,finding\n1.jpg,mel\n")
    assert completed([tmp_path], columns=Columns(id="file", label="finding")).sources[0].tables[0].columns.id == "file"
    with pytest.raises(UsageError, match=r"^--label_column findng: no table has this column; there are file, finding"):
        completed([tmp_path], [mine], Columns(id="file", label="findng"))
    other = write(tmp_path / "other.csv", "name,dx\n1.jpg,mel\n")
    with pytest.raises(UsageError, match=r"other\.csv: needs a column file; it has name, dx"):
        completed([tmp_path], [mine, other], Columns(id="file", label="finding"))


def test_tables_of_one_file_name_are_told_apart_and_may_be_trusted_either_way(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name / "ISIC_0000001.jpg", "x")
        write(tmp_path / name / "metadata.csv", CLI)
    ham = write(tmp_path / "ham.csv", HAM)
    text = "sources: [{images: a, name: one}, {images: b, name: two}]\nmetadata: ham.csv"
    options = completed([write(tmp_path / "sources.yaml", text)])
    inputs = Inputs(options.sources, options.metadata)
    assert [table.name for source in inputs.sources for table in source.tables] == [
        "one/metadata.csv",
        "two/metadata.csv",
    ]
    assert source_names(inputs) == ["folder", "ham.csv", "one/metadata.csv", "two/metadata.csv", "one", "two"]
    meant = {text: trusted_name(text, inputs) for text in ("metadata.csv", "two/metadata.csv", "one", "folder", ham)}
    assert meant == {
        "metadata.csv": "metadata.csv",
        "two/metadata.csv": "two/metadata.csv",
        "one": "one",
        "folder": "folder",
        ham: "ham.csv",
    }
    assert trusted_name("three", inputs) is None
    (alone,) = completed([tmp_path / "a"]).sources
    assert alone.tables[0].name == "metadata.csv"
    assert trusted_name(f"{tmp_path}/a/metadata.csv", Inputs((alone,))) == "metadata.csv"


def test_inputs_are_completed_once_all_are_known(tmp_path: Path) -> None:
    """Of two sources with found tables, each keeps its own."""
    for name in ("a", "b"):
        write(tmp_path / name / "1.jpg", "x")
        write(tmp_path / name / "metadata.csv", CLI)
    inputs = complete_inputs(read_inputs([f"{tmp_path}/a", f"{tmp_path}/b"], []), Columns())
    assert [[table.name for table in source.tables] for source in inputs.sources] == [
        [f"{tmp_path}/a/metadata.csv"],
        [f"{tmp_path}/b/metadata.csv"],
    ]
