"""Metadata tables of every origin: what their columns mean and what makes a table unusable."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from pipelines.curation.given_splits import read_splits
from pipelines.domain import taxonomy
from pipelines.domain.labels import resolve_label, table_claims
from pipelines.domain.metadata_columns import Columns
from pipelines.domain.missing_values import is_missing
from pipelines.sources import metadata_tables
from tests.support.class_names import ISIC9, classes

ANY = Columns()


def require(path: str, columns: Columns = ANY) -> None:
    metadata_tables.require_columns(
        "--metadata", path, metadata_tables.require_table("--metadata", path).names, columns
    )


def table(path: Path, header: str, *lines: str) -> str:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *(line.split(",") for line in lines)])
    return str(path)


@pytest.mark.parametrize(
    ("header", "line", "expected"),
    [
        ("isic_id,diagnosis_1,diagnosis_2,diagnosis_3", "ISIC_0000001,Benign,B m p,Nevus", "nevus"),
        (
            "isic_id,diagnosis_2,diagnosis_3",
            "ISIC_0000001,Benign soft tissue proliferations - Vascular,",
            "vascular lesion",
        ),
        ("isic_id,benign_malignant,diagnosis", "ISIC_0000001,malignant,melanoma", "melanoma"),
        ("lesion_id,image_id,dx,dx_type", "L,ISIC_0000001,bcc,histo", "basal cell carcinoma"),
        ("image,MEL,NV,BCC,AKIEC,BKL,DF,VASC", "ISIC_0000001,0.0,0.0,0.0,0.0,0.0,1.0,0.0", "dermatofibroma"),
        ("image,MEL,NV,AK,SCC,UNK", "ISIC_0000001_downsampled,0,0,0,1,0", "squamous cell carcinoma"),
        ("image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK", "ISIC_0000001,0,0,0,0,0,0,0,0,1", None),
        ("image_name,diagnosis,benign_malignant,target", "ISIC_0000001,nevus,benign,0", "nevus"),
        ("image,Melanoma,Melanocytic nevus,Basal cell carcinoma", "ISIC_0000001,0,True,0", "nevus"),
        ("image_id,dx_MEL,dx_NV,dx_type_histo", "ISIC_0000001,1,0,1", "melanoma"),
        ("image_id,melanoma,Seborrheic_Keratosis,nevus", "ISIC_0000001,0,0,1", "nevus"),
        ("file_name,label,is_mel,is_nv", "ISIC_0000001.jpg,,0,1", "nevus"),
    ],
)
def test_tables_of_every_origin_give_the_expected_label(
    tmp_path: Path, header: str, line: str, expected: str | None
) -> None:
    path = table(tmp_path / "t.csv", header, line)
    require(path)
    ((image, facts),) = metadata_tables.read_facts(path, ANY)
    assert image == "ISIC_0000001"
    assert resolve_label(table_claims("t.csv", facts.labels, facts.hot, ISIC9)).label == (expected or "")


def test_isic_2020_version_1_has_benign_or_malignant_alone(tmp_path: Path) -> None:
    path = table(
        tmp_path / "t.csv", "image_name,patient_id,diagnosis,benign_malignant,target", "ISIC_0000001,P,unknown,benign,0"
    )
    ((_, facts),) = metadata_tables.read_facts(path, ANY)
    assert facts.patient_id == "P"
    assert taxonomy.built_in_set("malignant").classes_of(facts.labels) == ("benign",)


def test_a_table_of_the_users_own(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", "file,finding,lesion,who,dx", "my photo.v2.jpg,mel,17,anna,nv", "x.png,,,,")
    columns = Columns(id="file", label="finding", lesion="lesion", patient="who")
    require(path, columns)
    (image, facts), _ = metadata_tables.read_facts(path, columns)
    assert image == "my photo.v2"
    assert (facts.labels, facts.lesion_id, facts.patient_id) == (("mel",), "17", "anna")
    with pytest.raises(UsageError, match="needs a column nothing"):
        require(path, Columns(id="nothing"))


def test_ids_are_the_same_however_their_letters_are_composed(tmp_path: Path) -> None:
    apart, one = "lesio\u0301n", "lesi\u00f3n"
    path = table(tmp_path / "t.csv", "image_id,lesion_id,patient_id", f"{apart}.jpg,{apart},{apart}")
    ((image, facts),) = metadata_tables.read_facts(path, ANY)
    assert (image, facts.lesion_id, facts.patient_id) == (one, one, one)
    splits = table(tmp_path / "s.csv", "image_id,split", f"{apart}.jpg,test")
    assert list(read_splits(splits, ANY)) == [(one, "test")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no rows"),
        ("isic_id,lesion_id\n", "holds no rows"),
        (
            "name,lesion_id\na,b\n",
            r"needs a column isic_id or .*name yours with --id_column\); it has name, lesion_id",
        ),
        (
            "isic_id,lesion\na,b\n",
            r"no lesion_id, label or licence column \(.*--label_column\); it has isic_id, lesion",
        ),
        (b"\xff\xfe\x00ba", "no text in UTF-16"),
        ("isic_id,dx,dx\na,nv,mel\n", "two columns are named 'dx'"),
        (
            "isic_id,dx_mel,dx_nv,is_mel,is_nv\na,1,0,1,0\n",
            "columns dx_mel, .* leave out what is not meant.*; it has isic_id, dx_mel",
        ),
        ("isic_id,MEL,NV,Melanoma\na,1,0,1\n", "columns MEL and Melanoma are both for melanoma"),
        ('isic_id,dx\na,nv\nb,"nv\nc,mel\n', r"line 3: a quote is not closed"),
        ('isic_id,dx\na,nv\nb,"nv', "line 3: a quote is not closed"),
        ('isic_id,dx\na,"nv\nb,mel\nc,"nv\n', "line 2: a quote is not closed"),
        ('isic_id,dx\na,"nv\n' + "b,mel\n" * 30_000, "line 2: field larger than field limit"),
    ],
)
def test_metadata_without_what_is_needed_is_refused(tmp_path: Path, content: bytes | str, says: str) -> None:
    path = tmp_path / "metadata.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=says):
        require(str(path))
    with pytest.raises(UsageError, match="cannot be read"):
        require(str(tmp_path / "missing.csv"))


def test_a_header_that_fits_nothing_gets_a_short_message(tmp_path: Path) -> None:
    path = tmp_path / "hmnist.csv"
    path.write_text(",".join(f"pixel{number:04}" for number in range(2352)) + ",labels\n1\n")
    with pytest.raises(UsageError, match=r"it has pixel0000, .*\.\.\. \(2353 columns\)$") as refused:
        require(str(path))
    assert len(str(refused.value)) <= 270 or len(str(path)) > 150
    with pytest.raises(UsageError, match=r"it has imageid, dx; nearest: imageid for image_id$"):
        require(table(tmp_path / "near.csv", "imageid,dx", "a,nv"))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_quoted_value_may_hold_line_breaks_and_quotes_may_be_loose(tmp_path: Path, end: str) -> None:
    path = tmp_path / "t.csv"
    lines = ["isic_id,attribution,dx,,", 'ISIC_0000001,"Anna', 'and ""Bert""",mel,,', 'ISIC_0000002,"C." D.,nv,,', ""]
    path.write_bytes(end.join(lines).encode())
    require(str(path))
    assert [
        (image, facts.attribution, facts.labels) for image, facts in metadata_tables.read_facts(str(path), ANY)
    ] == [
        ("ISIC_0000001", f'Anna{end}and "Bert"', ("mel",)),
        ("ISIC_0000002", "C. D.", ("nv",)),
    ]


def test_every_real_table_is_recognised_and_what_has_no_class_is_known(shared_data: Path) -> None:
    """Every table at hand is recognised; what stays without a class is known."""
    tables = [*shared_data.glob("tables/*.csv"), *shared_data.glob("tables/isic_cli_layouts/*.csv")]
    tables += [shared_data / name for name in ("ham10000/images/metadata.csv", "isic_cli_download/metadata.csv")]
    assert len(tables) > 10
    unmapped: Counter = Counter()
    for path in tables:
        require(str(path))
        for _, facts in metadata_tables.read_facts(str(path), ANY):
            labels = [label for label in (*facts.labels, *facts.hot) if not is_missing(label)]
            if labels and not classes("isic9", *labels):
                unmapped[labels[0]] += 1
    assert set(unmapped) == {"benign", "Scar", "Benign"}
    by_id = dict(metadata_tables.read_facts(str(shared_data / "tables/HAM10000_metadata.csv"), ANY))
    assert len(by_id) == 10015
    counts = Counter(classes("ham7", *fact.labels)[0] for fact in by_id.values())
    assert counts == {"nv": 6705, "mel": 1113, "bkl": 1099, "bcc": 514, "akiec": 327, "vasc": 142, "df": 115}
    challenge = dict(
        metadata_tables.read_facts(str(shared_data / "tables/ISIC2018_Task3_Training_GroundTruth.csv"), ANY)
    )
    assert all(
        classes("ham7", *challenge[image].hot) == classes("ham7", *fact.labels)
        for image, fact in by_id.items()
        if image in challenge
    )
