"""The file of sources, and its mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from pipelines.domain.layout_registry import LAYOUTS
from pipelines.domain.metadata_columns import Columns
from pipelines.sources.sources_file import read_sources_file
from tests.support.source_files import HAM, completed, packed, write


def test_a_file_of_sources_is_read_with_paths_relative_to_it(tmp_path: Path) -> None:
    content = {
        "sources": [
            {"images": "isic9/Train", "layout": "folders", "name": "kaggle"},
            {"images": "gs://bucket/x.zip", "layout": "isic2019", "metadata": ["../truth.csv", "gs://b/more.csv"]},
            {"images": "/mine", "metadata": "mine.csv", "columns": {"id": "file", "patient": "who"}},
        ],
        "metadata": ["HAM.csv"],
    }
    path = write(tmp_path / "sub" / "sources.json", json.dumps(content))
    first, second, third = read_sources_file(path).sources
    assert (first.name, first.path, first.layout, first.tables) == (
        "kaggle",
        str(tmp_path / "sub" / "isic9" / "Train"),
        "folders",
        (),
    )
    assert (second.name, second.path) == ("gs://bucket/x.zip",) * 2
    assert [table.path for table in second.tables] == [str(tmp_path / "truth.csv"), "gs://b/more.csv"]
    assert (third.path, third.layout, third.tables[0].columns) == ("/mine", "", Columns(id="file", patient="who"))
    assert [table.path for table in read_sources_file(path).metadata] == [str(tmp_path / "sub" / "HAM.csv")]
    again = write(
        tmp_path / "sub" / "sources.yaml",
        """\
sources:
  - {images: isic9/Train, layout: folders, name: kaggle}
  - images: gs://bucket/x.zip
    layout: isic2019
    metadata: [../truth.csv, gs://b/more.csv]
  - images: /mine
    metadata: mine.csv
    columns:
      id: file
      patient: who
metadata: [HAM.csv]
""",
    )
    as_yaml, as_json = (read_sources_file(one) for one in (again, path))
    assert [source._replace(tables=(), option="") for source in as_yaml.sources] == [
        source._replace(tables=(), option="") for source in as_json.sources
    ]


def test_the_documented_file_of_sources_is_one(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "sources.md"
    example = page.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    content = read_sources_file(write(tmp_path / "sources.yaml", example))
    assert [source.layout for source in content.sources] == ["folders", "isic2019", ""]
    assert [len(source.tables) for source in content.sources] == [0, 2, 1]
    assert len(content.metadata) == 1


MISTAKES = {
    "no file": (None, "no such file"),
    "empty": ("", "must be keys with values (sources, metadata), not nothing"),
    "a list": ("[1]", "must be keys with values (sources, metadata), not a list"),
    "unknown key": ("source: []", "unknown key 'source'; sources, metadata are known"),
    "no sources": ("metadata: [a.csv]", "needs sources, a list of one or more"),
    "empty list": ("sources: []", "needs sources, a list of one or more, each with images; it has an empty list"),
    "reserved name": (
        "sources: [{images: images, name: folder}]",
        "source 1: name 'folder' stands for the folder names",
    ),
    "NUL": ('sources: [{images: "images\\0"}]', "source 1: images must be one line of text, not 'images\\x00'"),
    "sources no list": ("sources: {images: x}", "needs sources, a list of one or more, each with images; it has keys"),
    "source no mapping": ("sources: [x]", "source 1: must be keys with values"),
    "no images": ("sources: [{images: images}, {name: x}]", "source 2: needs images"),
    "key of a source": ("sources: [{images: images, path: y}]", "source 1: unknown key 'path'; images, layout, name"),
    "images a list": ("sources: [{images: [a, b]}]", "source 1: images must be one line of text, not a list"),
    "name a number": ("sources: [{images: images, name: 2019}]", "name must be one line of text, not 2019; put it in"),
    "name a date": ("sources: [{images: images, name: 2019-05-01}]", "not 2019-05-01; put it in quotes"),
    "two lines": ('sources: [{images: "images\\nmore"}]', "source 1: images must be one line of text, not 'images"),
    "empty name": ("sources: [{images: images, name: ' '}]", "source 1: name must be one line of text"),
    "layout": (
        "sources: [{images: images, layout: ham}]",
        f"source 'images': unknown layout 'ham'; {', '.join(LAYOUTS)} are known",
    ),
    "metadata": ("sources: [{images: images, metadata: 5}]", "source 'images': metadata must be one line of text"),
    "no metadata": ("sources: [{images: images, metadata: []}]", "source 'images': metadata is an empty list"),
    "column key": (
        "sources: [{images: images, metadata: ham.csv, columns: {dx: finding}}]",
        "source 'images': unknown key 'dx'; id, label, lesion, patient are known",
    ),
    "column type": (
        "sources: [{images: images, metadata: ham.csv, columns: {id: 3}}]",
        "source 'images': columns: id must be one line of text, not 3",
    ),
    "columns alone": ("sources: [{images: images, columns: {id: file}}]", "columns needs metadata"),
    "columns of a layout": (
        "sources: [{images: images, layout: ham10000, metadata: ham.csv, columns: {id: file}}]",
        "columns are those of layout table; those of ham10000 are known",
    ),
    "column not there": (
        "sources: [{images: images, metadata: ham.csv, columns: {id: file}}]",
        "source 'images': columns: id: file: no table has this column; there are lesion_id, image_id, dx",
    ),
    "names": (
        "sources: [{images: images, name: a}, {images: other, name: a}]",
        "another source is named 'a' too; rename one",
    ),
    "places": ("sources: [{images: images}, {images: images, layout: folders, name: b}]", "is named twice"),
    "bad YAML": ("sources:\n  - images: [a\nmetadata: x", "not YAML, line 3: "),
    "repeated key": ("sources: [{images: images}]\nmetadata: a\nmetadata: b", "not YAML, line 3: 'metadata' stands"),
    "bytes": (b"\xff\xfe\x00", "not a UTF-8 text file"),
    "python": ("!!python/object/apply:os.getcwd []", "not YAML, line 1: could not determine a constructor"),
    "images missing": ("sources: [{images: gone}]", "source 'gone': images {tmp}/gone: no such file or folder"),
    "table missing": (
        "sources: [{images: images, metadata: gone.csv}]",
        "source 'images': metadata {tmp}/gone.csv: cannot be read (FileNotFoundError",
    ),
    "table of all missing": ("sources: [{images: images}]\nmetadata: gone.csv", "metadata {tmp}/gone.csv: cannot be"),
    "table of another layout": (
        "sources: [{images: images, layout: isic2019, metadata: truth2018.csv}]",
        "source 'images': metadata {tmp}/truth2018.csv: is no ISIC 2019 table; it lacks columns AK, SCC; it has",
    ),
    "table without a column": (
        "sources: [{images: images, layout: ham10000, metadata: noham.csv}]",
        "metadata {tmp}/noham.csv: is no HAM10000 table; it lacks column dx; it has image_id, lesion_id",
    ),
    "lesions without labels": (
        "sources: [{images: images, layout: isic2019, metadata: lesions2019.csv}]",
        "the ISIC 2019 table itself is missing, with image, MEL, NV, BCC, AK, BKL, DF, VASC, SCC",
    ),
    "table not found": (
        "sources: [{images: images, layout: isic2020}]",
        "images {tmp}/images: no ISIC 2020 table (a .csv with the columns image_name, benign_malignant or image_name, "
        "target) in it, above or beside it; name it with --metadata",
    ),
    "no table": ("sources: [{images: images, layout: table}]", "images {tmp}/images: layout table needs a table"),
    "an archive for a table": ("sources: [{images: images, metadata: a.zip}]", "is an archive; name the table in it"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_a_file_of_sources_are_one_line(tmp_path: Path, name: str) -> None:
    content, says = MISTAKES[name]
    write(tmp_path / "images" / "ISIC_0000001.jpg", "x")
    write(tmp_path / "other" / "ISIC_0000002.jpg", "x")
    write(tmp_path / "ham.csv", HAM)
    write(tmp_path / "noham.csv", "image_id,lesion_id\nISIC_0000001,L\n")
    write(tmp_path / "truth2018.csv", "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_0000001,1,0,0,0,0,0,0\n")
    write(tmp_path / "lesions2019.csv", "image,lesion_id,age_approx\nISIC_0000001,L,5\n")
    packed(tmp_path / "a.zip", **{"a.csv": HAM, "b.csv": HAM})
    path = tmp_path / "sources.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError) as raised:
        completed([path])
    message = str(raised.value)
    assert message.startswith(f"--input {path}: ")
    assert says.format(tmp=tmp_path) in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"sources": [}', "not JSON, line 1: "),
        ('{"sources": [],\n "sources": []}', "'sources' stands twice"),
        ('{"sources": [{"images": "\\ud800"}]}', "images must be one line of text"),
    ],
)
def test_mistakes_in_a_json_file_of_sources_are_named(tmp_path: Path, content: str, says: str) -> None:
    path = write(tmp_path / "sources.json", content)
    with pytest.raises(UsageError, match=says):
        read_sources_file(path)


def test_json_may_be_indented_with_tabs(tmp_path: Path) -> None:
    path = write(tmp_path / "sources.json", '{\n\t"sources": [\n\t\t{"images": "x"}\n\t]\n}')
    assert [source.name for source in read_sources_file(path).sources] == ["x"]


def test_a_folder_named_like_a_file_of_sources_is_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "set.json" / "a.jpg", "x")
    (source,) = completed([tmp_path / "set.json"]).sources
    assert source.path == str(tmp_path / "set.json")
