"""Layouts, sources and the file of sources: what is recognised, found, refused, and which image a table speaks of."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from pipelines.curation.feasibility import unused_table
from pipelines.curation.join_metadata import JoinTables
from pipelines.curation.options import NO_COLUMNS, with_found_tables
from pipelines.dataset.image_row import ImageRow
from pipelines.domain.labels import Claim, resolve_label
from pipelines.domain.metadata_columns import Columns, facts_of
from pipelines.domain.taxonomy import built_in_set
from pipelines.prepare.options import PrepareOptions
from pipelines.sources import layouts
from pipelines.sources.inputs import Inputs, complete_inputs, parse_input, read_inputs, source_names, trusted_name
from pipelines.sources.layouts import Source, Table, recognize
from pipelines.sources.metadata_tables import table_rows
from pipelines.sources.sources_file import read_sources_file
from tests.support.collecting import run
from tests.support.gcs import local_gcs, upload

ISIC9 = built_in_set("isic9")


HEADERS = {
    "isic_cli acral": (
        "isic_id,attribution,copyright_license,age_approx,anatom_site_1,anatom_site_2,anatom_site_3,"
        "anatom_site_general,anatom_site_special,diagnosis_1,diagnosis_2,diagnosis_3,image_type,sex",
        "isic_cli",
    ),
    "isic_cli acral benign": (
        "isic_id,attribution,copyright_license,acquisition_day,age_approx,anatom_site_general,anatom_site_special,"
        "clin_size_long_diam_mm,concomitant_biopsy,dermoscopic_type,diagnosis_1,diagnosis_2,diagnosis_3,diagnosis_4,"
        "diagnosis_5,diagnosis_confirm_type,family_hx_mm,fitzpatrick_skin_type,image_manipulation,image_type,"
        "lesion_id,melanocytic,patient_id,personal_hx_mm,pixels_x,pixels_y,sex",
        "isic_cli",
    ),
    "isic_cli acral malignant": (
        "isic_id,attribution,copyright_license,age_approx,anatom_site_general,anatom_site_special,"
        "clin_size_long_diam_mm,concomitant_biopsy,dermoscopic_type,diagnosis_1,diagnosis_2,diagnosis_3,diagnosis_4,"
        "diagnosis_confirm_type,family_hx_mm,fitzpatrick_skin_type,image_type,lesion_id,melanocytic,patient_id,"
        "personal_hx_mm,pixels_x,pixels_y,sex",
        "isic_cli",
    ),
    "isic_cli BCN20000": (
        "isic_id,attribution,copyright_license,age_approx,anatom_site_general,anatom_site_special,"
        "concomitant_biopsy,diagnosis_1,diagnosis_2,diagnosis_3,diagnosis_confirm_type,image_type,lesion_id,"
        "melanocytic,sex",
        "isic_cli",
    ),
    "isic_cli of 2024-04": (
        "isic_id,attribution,copyright_license,age_approx,anatom_site_general,benign_malignant,concomitant_biopsy,"
        "diagnosis,diagnosis_confirm_type,image_type,lesion_id,melanocytic,sex",
        "isic_cli",
    ),
    "isic_cli anatom_site": (
        "isic_id,attribution,copyright_license,age_approx,anatom_site_1,anatom_site_2,anatom_site_3,"
        "anatom_site_special,concomitant_biopsy,diagnosis_1,diagnosis_2,diagnosis_3,diagnosis_confirm_type,"
        "image_type,lesion_id,melanocytic,sex",
        "isic_cli",
    ),
    "isic_cli pixels": (
        "isic_id,attribution,copyright_license,age_approx,anatom_site_general,anatom_site_special,"
        "concomitant_biopsy,diagnosis_1,diagnosis_2,diagnosis_3,diagnosis_confirm_type,image_manipulation,"
        "image_type,lesion_id,melanocytic,pixels_x,pixels_y,sex",
        "isic_cli",
    ),
    "HAM10000": ("lesion_id,image_id,dx,dx_type,age,sex,localization", "ham10000"),
    "HAM10000 of Dataverse": ("lesion_id,image_id,dx,dx_type,age,sex,localization,dataset", "ham10000"),
    "ISIC 2018": ("image,MEL,NV,BCC,AKIEC,BKL,DF,VASC", "isic2018"),
    "ISIC 2018 lesions": ("image,lesion_id,diagnosis_confirm_type", "isic2018"),
    "ISIC 2019": ("image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK", "isic2019"),
    "ISIC 2019 metadata": ("image,age_approx,anatom_site_general,lesion_id,sex", "isic2019"),
    "ISIC 2020 v1": (
        "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target",
        "isic2020",
    ),
    "ISIC 2020 v2": (
        "image_name,patient_id,lesion_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target",
        "isic2020",
    ),
    "one's own": ("file,finding,lesion,who", "table"),
    "nearly HAM10000": ("image_id,lesion_id", "table"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_table_is_known_by_its_columns(name):
    header, layout = HEADERS[name]
    columns = header.split(",")
    assert recognize(columns) == recognize(columns[::-1]) == layout


def test_real_headers(shared_data):
    expected = {
        "HAM10000_metadata.csv": "ham10000",
        "ISIC2018_Task3_Training_GroundTruth.csv": "isic2018",
        "ISIC_2019_Training_GroundTruth.csv": "isic2019",
        "ISIC_2019_Training_Metadata.csv": "isic2019",
        "ISIC_2020_Training_GroundTruth_v2.csv": "isic2020",
    }
    tables = list((shared_data / "tables").glob("*.csv"))
    cli = [*(shared_data / "tables" / "isic_cli_layouts").glob("*.csv"), *shared_data.glob("*/metadata.csv")]
    assert (len(tables), len(cli)) == (5, 9)
    for path in [*tables, *cli]:
        assert recognize(next(table_rows(str(path)))) == expected.get(path.name, "isic_cli"), path


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return str(path)


HAM = "lesion_id,image_id,dx\nL1,ISIC_0000001,mel\n"
CLI = "isic_id,diagnosis_3,copyright_license\nISIC_0000001,Nevus,CC-0\n"


def packed(path, **members):
    """An archive with these members; in their names, two underscores stand for a slash."""
    files = {name.replace("__", "/"): content.encode() for name, content in members.items()}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return str(path)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return str(path)


def test_a_layout_before_a_path(tmp_path):
    assert parse_input("ham10000=a/b=c") == Source("a/b=c", "a/b=c", "ham10000")
    write(tmp_path / "year=2019" / "a.jpg", "x")
    for path in (f"{tmp_path}/year=2019", "gs://bucket/year=2019", "split=*/x.jpg"):
        assert parse_input(path) == Source(path, path)
    with pytest.raises(UsageError, match=r"--input ham=x: no such .* ham is no layout; folders, isic_cli, ham10000"):
        parse_input("ham=x")
    with pytest.raises(UsageError, match="names no path"):
        parse_input("folders=")
    with pytest.raises(UsageError, match=r"--input a\.yaml is needed"):
        parse_input("folders=a.yaml")


def test_the_same_input_again_is_one_and_in_two_ways_is_refused(tmp_path):
    place = str(tmp_path)
    assert len(read_inputs([place, place, f"{place}/"], []).sources) == 1
    with pytest.raises(UsageError, match="named twice"):
        read_inputs([place, f"folders={place}"], [])


def test_a_file_of_sources(tmp_path):
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


def test_the_documented_file_of_sources_is_one(tmp_path):
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
        "source 'images': unknown layout 'ham'; folders, isic_cli, ham10000, isic2018, isic2019, isic2020, table are",
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
        "target) in {tmp}/images or {tmp}; name it with --metadata",
    ),
    "no table": ("sources: [{images: images, layout: table}]", "images {tmp}/images: layout table needs a table"),
    "an archive for a table": ("sources: [{images: images, metadata: a.zip}]", "is an archive; name the table in it"),
}


def completed(texts, metadata=(), columns=NO_COLUMNS):
    """What a command does with its inputs before any work."""
    inputs = read_inputs(list(map(str, texts)), list(map(str, metadata)))
    options = PrepareOptions(sources=inputs.sources, output="", metadata=inputs.metadata, columns=columns)
    return with_found_tables(options)


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_a_file_of_sources_are_one_line(tmp_path, name):
    content, says = MISTAKES[name]
    write(tmp_path / "images" / "ISIC_0000001.jpg", "x")
    write(tmp_path / "other" / "ISIC_0000002.jpg", "x")
    write(tmp_path / "ham.csv", HAM)
    write(tmp_path / "noham.csv", "image_id,lesion_id\nISIC_0000001,L\n")
    write(tmp_path / "truth2018.csv", "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_0000001,1,0,0,0,0,0,0\n")
    write(tmp_path / "lesions2019.csv", "image,lesion_id,age_approx\nISIC_0000001,L,5\n")
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
def test_mistakes_in_json(tmp_path, content, says):
    path = write(tmp_path / "sources.json", content)
    with pytest.raises(UsageError, match=says):
        read_sources_file(path)


def test_json_may_be_indented_with_tabs(tmp_path):
    path = write(tmp_path / "sources.json", '{\n\t"sources": [\n\t\t{"images": "x"}\n\t]\n}')
    assert [source.name for source in read_sources_file(path).sources] == ["x"]


def test_a_folder_named_like_a_file_of_sources_is_a_folder(tmp_path):
    write(tmp_path / "set.json" / "a.jpg", "x")
    (source,) = completed([tmp_path / "set.json"]).sources
    assert source.path == str(tmp_path / "set.json")


def tables(options):
    return [[table.path for table in source.tables] for source in options.sources]


def test_tables_are_found_beside_images_above_them_and_beside_archives(tmp_path):
    write(tmp_path / "ham" / "part_1" / "ISIC_0000001.jpg", "x")
    write(tmp_path / "ham" / "part_2" / "ISIC_0000002.jpg", "x")
    bare = write(tmp_path / "ham" / "HAM10000_metadata", HAM)
    write(tmp_path / "ham" / "hmnist.csv", "pixel0000,label\n1,2\n")
    one, two, both, some = (
        f"ham10000={tmp_path}/ham/{place}" for place in ("part_1", "part_2", "", "part_1/ISIC_0000001*")
    )
    assert tables(completed([one, two])) == [[bare], [bare]]
    assert tables(completed([both])) == tables(completed([some])) == [[bare]]
    packed(tmp_path / "2019.zip", images__ISIC_0000003_jpg="x", images__a="x")
    archive = packed(tmp_path / "ISIC_2019.zip", **{"in__ISIC_0000003.jpg": "x", "ATTRIBUTION.txt": "x"})
    truth = write(tmp_path / "truth.CSV", "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC\nISIC_0000003,1,0,0,0,0,0,0,0\n")
    lesions = write(tmp_path / "lesions.csv", "image,lesion_id,age_approx\nISIC_0000003,L,5\n")
    (source,) = completed([f"isic2019={archive}"]).sources
    assert sorted(table.path for table in source.tables) == sorted([truth, lesions])
    assert not source.folders_speak
    assert source.read_as() == "ISIC 2019 table"
    listed = write(tmp_path / "list.txt", "ham/part_1/ISIC_0000001.jpg\n")
    assert len(completed([f"isic2019={listed}"]).sources[0].tables) == 2


@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_the_shallowest_metadata_in_an_archive_is_read_in_place(tmp_path, suffix):
    members = {"a__b__metadata.csv": "isic_id\n", "a__metadata.csv": CLI, "a__ISIC_0000001.JPG": "x"}
    archive = packed(tmp_path / f"gallery.{suffix}", **members)
    for text in (archive, f"isic_cli={archive}"):
        (source,) = completed([text]).sources
        assert [table.path for table in source.tables] == [f"{archive}!/a/metadata.csv"]
    (row,) = table_rows(source.tables[0].path)
    assert facts_of(row, "t", Columns())[1:5] == (("Nevus",), "", "", "CC-0")
    named = completed([f"folders={archive}"], [f"{archive}!/a/metadata.csv"])
    assert (tables(named), [table.layout for table in named.metadata]) == ([[]], ["isic_cli"])
    with pytest.raises(UsageError, match=r"no x\.csv in "):
        completed([archive], [f"{archive}!/x.csv"])


UNUSABLE = {
    "semicolons": ("ISIC_ID;diagnosis\nISIC_0000001;nevus\n", "no image id column (it has ISIC_ID;diagnosis)"),
    "header case": ("ISIC_ID,diagnosis\nISIC_0000001,nevus\n", "no image id column (it has ISIC_ID, diagnosis)"),
    "empty": ("", "holds no rows"),
    "header only": (CLI.splitlines()[0], "holds no rows"),
    "UTF-16": (CLI.encode("utf-16"), "not a UTF-8 CSV file (invalid start byte)"),
    "UTF-16, no mark": (CLI.encode("utf-16-le"), r"no image id column (it has i\x00s\x00i\x00c\x00_\x00i\x00d\x00,"),
    "nothing to say": (
        "isic_id,sex\nISIC_0000001,male\n",
        "no lesion_id, label or licence column (it has isic_id, sex)",
    ),
    "column twice": ("isic_id,dx,dx\nISIC_0000001,nv,mel\n", "two columns are named 'dx'"),
    "open quote": ('isic_id,dx\nISIC_0000001,"nv\n', "not a CSV file (line 2: a quote is not closed)"),
    "many columns": (",".join(f"pixel{n}" for n in range(3000)) + "\n1\n", "pixel0, pixel1, pixel2"),
    "lines in the header": ('"a\nb",c\n1,2\n', "no image id column (it has a b, c)"),
}


@pytest.mark.parametrize("name", UNUSABLE)
@pytest.mark.parametrize("packing", ["folder", "zip"])
def test_a_found_metadata_that_is_no_table_is_ignored_with_a_line(tmp_path, capsys, name, packing):
    content, says = UNUSABLE[name]
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ISIC_0000001.jpg").write_bytes(b"x")
    table = tmp_path / "in" / "metadata.csv"
    table.write_bytes(content)
    root, place = str(tmp_path / "in"), str(table)
    if packing == "zip":
        root = shutil.make_archive(root, "zip", root)
        place = f"{root}!/metadata.csv"
    # The same table beside two inputs is one line.
    texts = [root] if packing == "zip" else [root, f"{root}/*.jpg"]
    assert tables(completed(texts)) == [[]] * len(texts)
    printed = capsys.readouterr()
    assert printed.err.startswith(f"note: {place} is ignored: ")
    assert says in printed.err
    assert (len(printed.err.splitlines()), printed.out) == (1, "")
    assert len(printed.err) < 400 + len(place)
    # Named, it is a mistake.
    with pytest.raises(UsageError, match=r"^--metadata [^\n]*$"):
        completed([f"folders={root}"], [place])


def test_a_found_metadata_with_columns_of_ones_own_is_used_or_named_in_the_message(tmp_path):
    write(tmp_path / "1.jpg", "x")
    write(tmp_path / "metadata.csv", "file,finding\n1.jpg,mel\n")
    assert completed([tmp_path], columns=Columns(id="file", label="finding")).sources[0].tables[0].columns.id == "file"
    with pytest.raises(UsageError, match=r"^--id_column fiel: no table has this column; there are file, finding"):
        completed([tmp_path], columns=Columns(id="fiel", label="finding"))


def test_several_downloads_side_by_side_bring_their_tables(tmp_path, capsys):
    found = [write(tmp_path / "all" / name / "metadata.csv", CLI) for name in ("acral", "ham")]
    write(tmp_path / "all" / "ham" / "ISIC_0000001.jpg", "x")
    write(tmp_path / "all" / "ham" / "deep" / "metadata.csv", CLI)
    write(tmp_path / "all" / ".cache" / "metadata.csv", CLI)
    write(tmp_path / "all" / "pictures" / "ISIC_0000002.jpg", "x")
    place = tmp_path / "all"
    options = completed([place])
    assert tables(options) == [found]
    assert [table.name for table in options.sources[0].tables] == found
    assert source_names(Inputs(options.sources)) == ["folder", *found, str(place)]
    assert trusted_name("metadata.csv", Inputs(options.sources)) == "metadata.csv"
    # Which of the two is meant cannot be told.
    assert trusted_name(f"{place}/metadata.csv", Inputs(options.sources)) is None
    assert tables(completed([f"{place}/*/*.jpg"])) == tables(completed([f"folders={place}"])) == [[]]
    for form in ("zip", "tar"):
        archive = shutil.make_archive(str(place), form, tmp_path, "all")
        assert tables(completed([archive])) == [[f"{archive}!/all/{name}/metadata.csv" for name in ("acral", "ham")]]
    write(tmp_path / "all" / "acral" / "metadata.csv", "")
    assert tables(completed([place])) == [found[1:]]
    assert "acral/metadata.csv is ignored: holds no rows" in capsys.readouterr().err
    own = write(place / "metadata.csv", CLI)
    assert tables(completed([place])) == [[own]]


def test_metadata_beside_images_speaks_unless_the_layout_is_another(tmp_path):
    write(tmp_path / "ISIC_0000001.jpg", "x")
    table = write(tmp_path / "metadata.csv", CLI)
    for text in (tmp_path, f"{tmp_path}/*.jpg", f"isic_cli={tmp_path}"):
        assert tables(completed([text])) == [[table]]
    assert tables(completed([f"folders={tmp_path}"])) == [[]]
    assert completed([tmp_path]).sources[0].read_as() == "class folders + ISIC archive table"
    # Named by hand too, it is one table, and speaks of all.
    named = completed([tmp_path], [table])
    assert (tables(named), [one.path for one in named.metadata]) == ([[table]], [table])
    assert not named.sources[0].tables[0].found


def test_a_named_layout_takes_its_table_from_metadata_too(tmp_path):
    write(tmp_path / "in" / "ISIC_0000001.jpg", "x")
    table = write(tmp_path / "elsewhere" / "ham.csv", HAM)
    assert tables(completed([f"ham10000={tmp_path}/in"], [table])) == [[]]
    assert tables(completed([f"table={tmp_path}/in"], [table])) == [[]]
    with pytest.raises(UsageError, match=r"^--input .*/in: no ISIC 2018 table .* name it with --metadata"):
        completed([f"isic2018={tmp_path}/in"], [table])


def test_named_columns_are_for_the_tables_that_have_them(tmp_path):
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


def test_tables_of_one_file_name_are_told_apart_and_may_be_trusted_either_way(tmp_path):
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


def test_whom_trust_means():
    def claim(source, label, *owners):
        return Claim(source, (label,), (label,), owners)

    claims = [
        claim("folder", "nevus", "one"),
        claim("folder", "melanoma", "two"),
        claim("two/metadata.csv", "melanoma", "two"),
        claim("one/metadata.csv", "nevus", "one"),
        claim("ham.csv", "df"),
    ]
    expected = {
        "one": "nevus",
        "two": "melanoma",
        "one/metadata.csv": "nevus",
        "ham.csv": "df",
        "metadata.csv": "label_conflict",
        "folder": "label_conflict",
        "": "label_conflict",
    }
    for trust, outcome in expected.items():
        decision = resolve_label(claims, trust)
        assert (decision.label or decision.reason) == outcome, trust


def csv_file(path, *rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return str(path)


def test_local_ids_hold_within_their_source_and_isic_ids_everywhere(tmp_path):
    header = ("image_id", "dx", "lesion_id")
    first = csv_file(tmp_path / "first.csv", header, ("1.jpg", "mel", "A"), ("ISIC_0000001", "bcc", "B"))
    second = csv_file(tmp_path / "second.csv", header, ("1", "nv", "C"))
    shared = csv_file(tmp_path / "shared.csv", ("image_id", "patient_id"), ("1", "anna"), ("ISIC_0000001.jpg", "bert"))
    sources = [
        Source("one", "/one", tables=(Table(first, name="first.csv"),)),
        Source("two", "/two", tables=(Table(second, name="second.csv"),)),
        Source("three", "/three"),
    ]
    rows = [
        ImageRow(f"/{name}/{image}.jpg", f"{image}.jpg", source=name, image_id=image)
        for name in ("one", "two", "three")
        for image in ("1", "ISIC_0000001")
    ]
    joined = run(rows, JoinTables(sources, [Table(shared, name="shared.csv")], ISIC9))
    said = {
        (row.source, row.image_id): (tuple(claim.classes[0] for claim in row.claims), row.lesion_ids, row.patient_ids)
        for row in joined
    }
    everywhere = (("basal cell carcinoma",), ("B",), ("bert",))
    assert said == {
        ("one", "1"): (("melanoma",), ("A",), ("anna",)),
        ("two", "1"): (("nevus",), ("C",), ("anna",)),
        ("three", "1"): ((), (), ("anna",)),
        ("one", "ISIC_0000001"): everywhere,
        ("two", "ISIC_0000001"): everywhere,
        ("three", "ISIC_0000001"): everywhere,
    }
    assert {row.claims[0].owners for row in joined if row.source == "one"} == {("one",)}


def test_a_table_of_two_sources_speaks_of_both_and_is_read_once(tmp_path):
    table = Table(csv_file(tmp_path / "t.csv", ("image_id", "dx"), ("1", "mel")), name="t.csv")
    sources = [Source("one", "/one", tables=(table,)), Source("two", "/two", tables=(table._replace(found=True),))]
    rows = [ImageRow(f"/{name}/1.jpg", "1.jpg", source=name, image_id="1") for name in ("one", "two")]
    joined = run(rows, JoinTables(sources, [], ISIC9))
    assert [row.claims for row in joined] == [(Claim("t.csv", ("mel",), ("melanoma",), ("one", "two")),)] * 2


def test_a_table_that_knows_no_image_is_named():
    def said(*sources, known, shared=()):
        return unused_table(PrepareOptions(sources=sources, output="", metadata=shared), dict.fromkeys(known, 1))

    mine = Table("/m.csv", name="m.csv")
    assert said(known=(), shared=(mine,)).startswith("--metadata /m.csv: knows none of the images")
    assert said(known=("m.csv",), shared=(mine,)) is None
    train, test = (Table(f"/{name}.csv", name=name, option="--input", found=True) for name in ("train", "test"))
    source = Source("a", "/a", "isic2018", (train, test))
    assert said(source, known=("train",)) is None
    assert said(source, known=()).startswith("--input /a: /train.csv, found with it, knows none")
    assert "layout folders" in said(Source("a", "/a", tables=(train,)), known=())


def test_every_named_layout_has_a_title_and_the_report_names_it():
    titles = [layout.title for layout in layouts.LAYOUTS.values()]
    assert len(set(titles)) == len(titles)
    source = Source("a", "/a", "isic2019", (Table("/t.csv", layout="isic2019"),))
    assert source.as_json() == {"name": "a", "path": "/a", "layout": "isic2019", "tables": ["/t.csv"]}
    assert Source("a", "/a").as_json()["layout"] == "class folders"


def test_inputs_are_completed_once_all_are_known(tmp_path):
    """Of two sources with found tables, each keeps its own."""
    for name in ("a", "b"):
        write(tmp_path / name / "1.jpg", "x")
        write(tmp_path / name / "metadata.csv", CLI)
    inputs = complete_inputs(read_inputs([f"{tmp_path}/a", f"{tmp_path}/b"], []), Columns())
    assert [[table.name for table in source.tables] for source in inputs.sources] == [
        [f"{tmp_path}/a/metadata.csv"],
        [f"{tmp_path}/b/metadata.csv"],
    ]


# In a bucket

BUCKET = "layouts"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """gs://layouts/in/ holds images with a table above them, a gallery's archive and a file of sources."""
    folder = tmp_path_factory.mktemp("bucket")
    write(folder / "ham" / "part_1" / "ISIC_0000001.jpg", "x")
    write(folder / "ham" / "HAM10000_metadata", HAM)
    write(folder / "ham" / "other.csv", "a,b\n1,2\n")
    packed(folder / "gallery.zip", **{"metadata.csv": CLI, "ISIC_0000001.JPG": "x"})
    for place in ("a", "b", "a/deep"):
        write(folder / "downloads" / place / "ISIC_0000001.jpg", "x")
        write(folder / "downloads" / place / "metadata.csv", CLI)
    truth = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC\nISIC_0000001,1,0,0,0,0,0,0,0\n"
    write(folder / "TRUTH.CSV", truth)
    write(
        folder / "sets" / "sources.yaml",
        """\
sources:
  - {images: ../ham/part_1, layout: ham10000}
  - {images: ../gallery.zip, name: gallery}
""",
    )
    with local_gcs(tmp_path_factory.mktemp("gcs"), BUCKET) as environment, pytest.MonkeyPatch.context() as patch:
        upload(environment, BUCKET, folder, "in")
        for name, value in environment.items():
            patch.setenv(name, value)
        yield f"gs://{BUCKET}/in"


def test_sources_and_their_tables_in_a_bucket(bucket):
    ham, gallery = completed([f"{bucket}/sets/sources.yaml"]).sources
    assert (ham.name, ham.path) == ("../ham/part_1", f"{bucket}/ham/part_1")
    assert [table.path for table in ham.tables] == [f"{bucket}/ham/HAM10000_metadata"]
    assert [table.path for table in gallery.tables] == [f"{bucket}/gallery.zip!/metadata.csv"]
    assert [row["isic_id"] for row in table_rows(gallery.tables[0].path)] == ["ISIC_0000001"]
    (beside,) = completed([f"isic2019={bucket}/gallery.zip"]).sources
    assert [table.path for table in beside.tables] == [f"{bucket}/TRUTH.CSV"]
    with pytest.raises(
        UsageError, match=r"no ISIC 2020 table .* in gs://layouts/in/ham/part_1 or gs://layouts/in/ham;"
    ):
        completed([f"isic2020={bucket}/ham/part_1"])
    (below,) = completed([f"{bucket}/downloads"]).sources
    assert [table.path for table in below.tables] == [f"{bucket}/downloads/{name}/metadata.csv" for name in ("a", "b")]
    with pytest.raises(UsageError, match=r"missing\.yaml: no such file"):
        completed([f"{bucket}/missing.yaml"])
