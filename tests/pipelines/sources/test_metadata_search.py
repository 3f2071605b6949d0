"""Metadata tables are found beside images, above them and in archives."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.common.cli import UsageError
from pipelines.domain.metadata_columns import Columns, facts_of
from pipelines.sources.inputs import Inputs, source_names, trusted_name
from pipelines.sources.metadata_tables import read_facts, table_rows
from tests.support.gcs import local_gcs, upload
from tests.support.image_files import encode
from tests.support.source_files import CLI, HAM, completed, packed, tables, write
from tests.support.workbook_files import xlsx


def test_tables_are_found_beside_images_above_them_and_beside_archives(tmp_path: Path) -> None:
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


def test_a_named_layout_has_its_table_up_to_two_folders_above(tmp_path: Path) -> None:
    header = "isic_id,target,patient_id,iddx_full\nISIC_0000001,0,IP_1,Benign\n"
    table = write(tmp_path / "train-metadata.csv", header)
    write(tmp_path / "train-image" / "image" / "ISIC_0000001.jpg", "x")
    for images in ("train-image/image", "train-image", "."):
        assert tables(completed([f"isic2024={tmp_path / images}"])) == [[table]]
    write(tmp_path / "train-image" / "image" / "deeper" / "still" / "ISIC_0000001.jpg", "x")
    with pytest.raises(UsageError, match="no ISIC 2024 table"):
        completed([f"isic2024={tmp_path}/train-image/image/deeper/still"])


@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_the_shallowest_metadata_in_an_archive_is_read_in_place(tmp_path: Path, suffix: str) -> None:
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


USABLE = {
    "semicolons": b"ISIC_ID;diagnosis\nISIC_0000001;nevus\n",
    "header case": b"ISIC_ID , Diagnosis\nISIC_0000001,nevus\n",
    "UTF-16": CLI.encode("utf-16"),
    "UTF-16, no mark": CLI.encode("utf-16-le"),
    "tabs": CLI.replace(",", "\t").encode(),
    "workbook": xlsx({"Sheet 1": [["isic_id", "dx"], ["ISIC_0000001", "nv"]]}),
}


@pytest.mark.parametrize("name", USABLE)
@pytest.mark.parametrize("packing", ["folder", "zip"])
def test_a_metadata_in_another_form_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, packing: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "ISIC_0000001.jpg").write_bytes(b"x")
    (folder / "metadata.csv").write_bytes(USABLE[name])
    root = str(folder) if packing == "folder" else shutil.make_archive(str(folder), "zip", folder)
    for text in (root, f"isic_cli={root}"):
        (source,) = completed([text]).sources
        (table,) = source.tables
        ((image, facts),) = read_facts(table.path, table.columns, table.name)
        assert (image, facts.labels[0].lower()[0]) == ("ISIC_0000001", "n")
    assert capsys.readouterr().err == ""


TRUTH = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_0000001,0,0,0,0,0,1,0\n"


def test_a_table_in_a_zip_beside_the_images_is_read_as_if_unpacked(tmp_path: Path) -> None:
    images = tmp_path / "ISIC2018_Task3_Training_Input"
    write(images / "ISIC_0000001.jpg", "x")
    truth = "ISIC2018_Task3_Training_GroundTruth"
    archive = packed(tmp_path / f"{truth}.zip", **{f"{truth}__{truth}.csv": TRUTH, f"{truth}__LICENSE.txt": "CC-0"})
    found = f"{archive}!/{truth}/{truth}.csv"
    # A zip of other images has a table of those alone.
    packed(tmp_path / "other.zip", **{"truth.csv": TRUTH, "ISIC_0000002.jpg": "x"})
    for text in (str(tmp_path), f"isic2018={tmp_path}", f"isic2018={images}"):
        (source,) = completed([text]).sources
        assert found in [table.path for table in source.tables]
        assert {table.layout for table in source.tables} == {"isic2018"}
    assert tables(completed([f"isic2018={images}"])) == [[found]]
    assert [table.path for table in completed([images], [archive]).metadata] == [found]
    assert dict(read_facts(found, Columns()))["ISIC_0000001"].hot == ("DF",)
    unpacked = write(tmp_path / truth / f"{truth}.csv", TRUTH)
    assert tables(completed([f"isic2018={tmp_path}"])) == [[f"{tmp_path}/other.zip!/truth.csv"]]
    (tmp_path / "other.zip").unlink()
    assert tables(completed([tmp_path])) == [[unpacked]]


def test_a_zip_of_images_in_a_folder_brings_the_tables_in_it(tmp_path: Path) -> None:
    """The whole of HAM10000 as Kaggle packs it: two folders of images, its table, and pixels as further tables."""
    members = {
        "HAM10000_images_part_1__ISIC_0000001.jpg": "x",
        "HAM10000_metadata.csv": HAM,
        "hmnist_28_28_RGB.csv": ",".join([f"pixel{n:04}" for n in range(2352)]) + ",label\n" + "1," * 2352 + "2\n",
    }
    (tmp_path / "in").mkdir()
    archive = packed(tmp_path / "in" / "archive.zip", **members)
    for text in (archive, f"{tmp_path}/in", f"ham10000={tmp_path}/in", f"ham10000={archive}"):
        (source,) = completed([text]).sources
        assert [(table.path, table.layout) for table in source.tables] == [
            (f"{archive}!/HAM10000_metadata.csv", "ham10000")
        ]


def test_an_archive_as_metadata_must_hold_one_table(tmp_path: Path) -> None:
    write(tmp_path / "ISIC_0000001.jpg", "x")
    two = packed(tmp_path / "two.zip", **{"a.csv": HAM, "b.csv": HAM})
    with pytest.raises(
        UsageError, match=f"^--metadata {two}: is an archive; name .* it: {two}!/a.csv or {two}!/b.csv$"
    ):
        completed([tmp_path], [two])
    none = packed(tmp_path / "none.zip", LICENSE="CC-0")
    with pytest.raises(UsageError, match="name the table in it: it has none"):
        completed([tmp_path], [none])
    broken = write(tmp_path / "broken.zip", "PK")
    with pytest.raises(UsageError, match=f"^--metadata {broken}: is an archive that cannot be listed"):
        completed([tmp_path], [broken])


def test_tables_of_a_layout_may_be_tab_or_xlsx(tmp_path: Path) -> None:
    write(tmp_path / "a" / "ISIC_0000001.jpg", "x")
    tab = write(tmp_path / "a" / "HAM10000_metadata.tab", '"lesion_id"\t"image_id"\t"dx"\n"L"\t"ISIC_0000001"\t"mel"\n')
    assert tables(completed([f"ham10000={tmp_path}/a"])) == [[tab]]
    write(tmp_path / "b" / "ISIC_0000001.jpg", "x")
    book = tmp_path / "b" / "truth.XLSX"
    book.write_bytes(xlsx({"t": [["Image_Name", "Target"], ["ISIC_0000001", True]], "more": [["x"]]}))
    assert tables(completed([f"isic2020={tmp_path}/b"])) == [[str(book)]]


def test_how_a_table_was_read_is_said_if_it_may_be_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "ISIC_0000001.jpg", "x")
    table = tmp_path / "mine.csv"
    table.write_bytes("isic_id,dx,attribution\nISIC_0000001,nv,Cl\u00ednic\n".encode("cp1252"))
    completed([tmp_path], [table])
    assert capsys.readouterr().err == (
        f"note: {table} is not UTF-8; it is read as Windows-1252, so look at its accented letters\n"
    )


def test_values_that_are_neither_yes_nor_no_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "ISIC_0000001.jpg", "x")
    truth = write(tmp_path / "truth.csv", "image,MEL,NV\nISIC_0000001,0.93,0.07\n")
    completed([tmp_path], [truth])
    assert f"note: {truth} has values in column MEL that are neither yes nor no" in capsys.readouterr().err


UNUSABLE: dict[str, tuple[str | bytes, str]] = {
    "bars": ("ISIC_ID|diagnosis\nISIC_0000001|nevus\n", "no image id column (it has ISIC_ID|diagnosis)"),
    "empty": ("", "holds no rows"),
    "header only": (CLI.splitlines()[0], "holds no rows"),
    "UTF-16": (CLI.encode("utf-16")[:-1], "no text in UTF-16 (truncated data)"),
    "binary": (b"isic_id,dx\nISIC_0000001,\0\n", "no text, but binary data"),
    "workbook": (b"PK\x03\x04" + bytes(40), "not a workbook, or a damaged one"),
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
def test_a_found_metadata_that_is_no_table_is_ignored_with_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, packing: str
) -> None:
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


def test_a_found_metadata_with_columns_of_ones_own_is_used_or_named_in_the_message(tmp_path: Path) -> None:
    write(tmp_path / "1.jpg", "x")
    write(tmp_path / "metadata.csv", "file,finding\n1.jpg,mel\n")
    assert completed([tmp_path], columns=Columns(id="file", label="finding")).sources[0].tables[0].columns.id == "file"
    with pytest.raises(UsageError, match=r"^--id_column fiel: no table has this column; there are file, finding"):
        completed([tmp_path], columns=Columns(id="fiel", label="finding"))


def test_several_downloads_side_by_side_bring_their_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_metadata_beside_images_speaks_unless_the_layout_is_another(tmp_path: Path) -> None:
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


# Of each published set: its tables, and where its images lie, below the folder that is given.
PUBLISHED: dict[str, tuple[dict[str, str], str]] = {
    "isic2016": ({"ISBI2016_ISIC_Part3_Training_GroundTruth.csv": "ISIC_0000001,benign\n"}, "ISBI2016_Training_Data"),
    "isic2017": (
        {"ISIC-2017_Training_Part3_GroundTruth.csv": "image_id,melanoma,seborrheic_keratosis\nISIC_0000001,1,0\n"},
        "ISIC-2017_Training_Data",
    ),
    "isic2019": (
        {
            "truth/GroundTruth.csv": "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC\nISIC_0000001,1,0,0,0,0,0,0,0\n",
            "truth/Metadata.csv": "image,lesion_id,age_approx\nISIC_0000001,L,5\n",
        },
        "ISIC_2019_Training_Input",
    ),
    "isic2024": (
        {
            "GroundTruth.csv": "isic_id,malignant\nISIC_0000001,0.0\n",
            "Supplement.csv": "isic_id,lesion_id,iddx_full\nISIC_0000001,IL_1,Benign\n",
        },
        ".",
    ),
    "milk10k": (
        {
            "MILK10k_GroundTruth.csv": "lesion_id,AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC\nIL_1,"
            "0,0,0,0,0,0,0,1,0,0,0\n",
            "MILK10k_Metadata.csv": "lesion_id,image_type,isic_id,skin_tone_class\nIL_1,dermoscopic,ISIC_0000001,3\n",
        },
        "MILK10k_Training_Input/IL_1",
    ),
    "ham10000": ({"HAM10000_metadata": HAM}, "HAM10000_images_part_1"),
    "ph2": (
        {"PH2_dataset.txt": "|| Name || Histological Diagnosis || Clinical Diagnosis ||\n|| ISIC_0000001 || || 2 ||\n"},
        "PH2 Dataset images/IMD1/IMD1_Dermoscopic_Image",
    ),
    "huggingface": ({"train/metadata.jsonl": '{"file_name": "ISIC_0000001.jpg", "label": "mel"}\n'}, "train"),
}


@pytest.mark.parametrize("layout", PUBLISHED)
def test_the_tables_of_a_published_set_are_found_without_its_layout_named(tmp_path: Path, layout: str) -> None:
    contents, place = PUBLISHED[layout]
    root = tmp_path / "in"
    write(root / place / "ISIC_0000001.jpg", "x")
    paths = sorted(write(root / name, content) for name, content in contents.items())
    (source,) = completed([root]).sources
    assert [table.path for table in source.tables] == paths
    assert {table.layout for table in source.tables} == {layout}
    facts = [facts for one in source.tables for facts in read_facts(one.path, one.columns, one.name, one.images)]
    assert {image for image, _ in facts} == {"ISIC_0000001"}
    assert any(fact.labels or fact.hot for _, fact in facts)
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", root)
    assert sorted(tables(completed([archive]))[0]) == [f"{archive}!/{path.removeprefix(f'{root}/')}" for path in paths]


def parquet(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = encode(np.zeros((2, 2, 3), np.uint8))
    rows = [{"image": {"bytes": picture, "path": f"{row}.jpg"}, "dx": "mel"} for row in range(2)]
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_parquet_files_with_images_bring_their_columns_wherever_they_lie(tmp_path: Path) -> None:
    paths = [tmp_path / "in" / name for name in ("a.parquet", "data/b.parquet", "default/train/0000.parquet")]
    for path in paths:
        parquet(path)
    pq.write_table(pa.table({"loss": [0.1]}), tmp_path / "in" / "log.parquet")
    own = write(tmp_path / "in" / "metadata.csv", CLI)
    assert tables(completed([tmp_path / "in"])) == [[own, *map(str, paths)]]
    assert tables(completed([f"huggingface={tmp_path}/in"])) == [[str(paths[0])]]
    (tmp_path / "in" / "a.parquet").unlink()
    assert tables(completed([f"huggingface={tmp_path}/in"])) == [[str(paths[1])]]


def test_a_table_of_a_published_set_counts_where_metadata_says_no_class(tmp_path: Path) -> None:
    write(tmp_path / "ISIC_0000001.jpg", "x")
    truth = write(tmp_path / "truth.csv", "isic_id,malignant\nISIC_0000001,1\n")
    own = write(tmp_path / "metadata.csv", "isic_id,patient_id\nISIC_0000001,IP_1\n")
    assert tables(completed([tmp_path])) == [[own, truth]]
    write(tmp_path / "metadata.csv", CLI)
    assert tables(completed([tmp_path])) == [[own]]
    assert tables(completed([f"folders={tmp_path}"])) == [[]]


def test_a_truth_with_its_classes_in_words_is_that_of_the_challenge(tmp_path: Path) -> None:
    write(tmp_path / "in" / "ISIC_0000001.jpg", "x")
    words = ("Melanoma", "Nevus", "Basal cell carcinoma", "Actinic keratoses", "Benign keratosis", "Dermatofibroma")
    header = ",".join(("image", *(f"label_{name}" for name in (*words, "Vascular lesion"))))
    truth = write(tmp_path / "in" / "truth.csv", f"{header}\nISIC_0000001,0,0,0,0,0,1,0\n")
    for text in ("in", "isic2018=in"):
        (source,) = completed([text.replace("in", f"{tmp_path}/in")]).sources
        (table,) = source.tables
        assert (table.path, table.layout) == (truth, "isic2018")
        assert [facts.hot for _, facts in read_facts(table.path, table.columns)] == [("Dermatofibroma",)]


def test_a_found_table_in_which_two_sets_of_columns_say_the_class_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "ISIC_0000001.jpg", "x")
    own = write(tmp_path / "metadata.csv", "isic_id,MEL,NV,truth_MEL,truth_NV,finding\nISIC_0000001,1,0,0,1,nv\n")
    with pytest.raises(UsageError, match=f"^--input {own}: columns MEL, ... and truth_MEL, .*; it has isic_id, MEL"):
        completed([tmp_path])
    assert tables(completed([tmp_path], columns=Columns(label="finding"))) == [[own]]


def test_answers_and_tables_of_no_published_set_are_not_taken(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "images"
    write(folder / "ISIC_0000001.jpg", "x")
    write(folder / "sample_submission.csv", "image_name,target\nISIC_0000001,0\n")
    write(folder / "ISIC2018_predictions.csv", "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_0000001,1,0,0,0,0,0,0\n")
    write(folder / "mine.csv", "isic_id,dx\nISIC_0000001,mel\n")
    write(folder / "@eaDir" / "truth.csv", HAM)
    write(folder / "._truth.csv", HAM)
    assert tables(completed([folder])) == [[]]
    for layout in ("isic2018", "isic2020"):
        with pytest.raises(UsageError, match=r"no ISIC 20.. table"):
            completed([f"{layout}={folder}"])
    truth = write(folder / "train.csv", "image_name,target\nISIC_0000001,1\n")
    assert tables(completed([f"isic2020={folder}"])) == [[truth]]


@pytest.mark.parametrize("named", ["", "isic2018="])
def test_a_truth_in_a_folder_of_its_own_is_found_with_the_lesions_beside_it(tmp_path: Path, named: str) -> None:
    write(tmp_path / "2018" / "Training_Input" / "ISIC_0000001.jpg", "x")
    header = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
    truth = write(tmp_path / "2018" / "Training_GroundTruth" / "truth.csv", f"{header}ISIC_0000001,1,0,0,0,0,0,0\n")
    lesions = write(tmp_path / "2018" / "lesions.csv", "image,lesion_id,diagnosis_confirm_type\nISIC_0000001,L,x\n")
    archive = packed(tmp_path / "2018" / "Test_Input.zip", **{"ISIC_0000001.jpg": "x"})
    places = [str(tmp_path / "2018")]
    places += [str(tmp_path / "2018" / "Training_Input"), archive] if named else []
    for place in places:
        assert sorted(tables(completed([f"{named}{place}"]))[0]) == sorted([truth, lesions])


def test_a_table_above_the_images_is_named_with_the_layout_that_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "in" / "ISIC_0000001.jpg", "x")
    archive = packed(tmp_path / "train.zip", ISIC_0000001_jpg="x", **{"ISIC_0000001.jpg": "x"})
    table = write(tmp_path / "HAM10000_metadata.csv", HAM)
    write(tmp_path / "train" / "image" / "ISIC_0000001.jpg", "x")
    for place in (f"{tmp_path}/in", f"{tmp_path}/train/image", archive):
        assert tables(completed([place])) == [[]]
        assert capsys.readouterr().err == (
            f"note: {table} (HAM10000 table) is not read, as it lies outside {place}; "
            f"--input ham10000={place} reads it\n"
        )
        assert tables(completed([f"ham10000={place}"])) == [[table]]
    write(tmp_path / "sources.yaml", "sources: [{images: in}]")
    completed([tmp_path / "sources.yaml"])
    assert capsys.readouterr().err.endswith("/in; layout: ham10000 reads it\n")
    completed([tmp_path / "in"], [table])
    assert capsys.readouterr().err == ""


BUCKET = "layouts"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
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
    write(folder / "2017" / "images" / "ISIC_0000001.jpg", "x")
    write(folder / "2017" / "Truth.CSV", "image_id,melanoma,seborrheic_keratosis\nISIC_0000001,1,0\n")
    write(folder / "2017" / "notes" / "mine.csv", "a,b\n1,2\n")
    parquet(folder / "hub" / "data" / "train.parquet")
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


def test_sources_and_their_tables_in_a_bucket(bucket: str) -> None:
    ham, gallery = completed([f"{bucket}/sets/sources.yaml"]).sources
    assert (ham.name, ham.path) == ("../ham/part_1", f"{bucket}/ham/part_1")
    assert [table.path for table in ham.tables] == [f"{bucket}/ham/HAM10000_metadata"]
    assert [table.path for table in gallery.tables] == [f"{bucket}/gallery.zip!/metadata.csv"]
    assert [row["isic_id"] for row in table_rows(gallery.tables[0].path)] == ["ISIC_0000001"]
    (beside,) = completed([f"isic2019={bucket}/gallery.zip"]).sources
    assert [table.path for table in beside.tables] == [f"{bucket}/TRUTH.CSV"]
    with pytest.raises(UsageError, match=r"ham/part_1: no ISIC 2020 table .* in it, above or beside it; name it with"):
        completed([f"isic2020={bucket}/ham/part_1"])
    (below,) = completed([f"{bucket}/downloads"]).sources
    assert [table.path for table in below.tables] == [f"{bucket}/downloads/{name}/metadata.csv" for name in ("a", "b")]
    with pytest.raises(UsageError, match=r"missing\.yaml: no such file"):
        completed([f"{bucket}/missing.yaml"])


def test_the_tables_of_published_sets_in_a_bucket_are_found_without_their_layouts(
    bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = completed([f"{bucket}/2017", f"{bucket}/hub", f"{bucket}/ham/part_1"])
    assert tables(found) == [[f"{bucket}/2017/Truth.CSV"], [f"{bucket}/hub/data/train.parquet"], []]
    assert f"--input ham10000={bucket}/ham/part_1 reads it" in capsys.readouterr().err
