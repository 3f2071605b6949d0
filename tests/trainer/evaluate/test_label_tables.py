"""The table that says what images are: its forms, what it leaves open, what stands for no class."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from pipelines.domain.diagnoses import CLASS_SETS
from tests.support.text_tables import table
from trainer.evaluate.label_tables import class_set_of, read_labels
from trainer.evaluate.metadata_tables import ImageFacts

CLASSES = ("melanoma", "nevus")


def test_labels_unmapped_terms_and_conflicts_are_told_apart(tmp_path: Path) -> None:
    rows = ["ISIC_1,nevus", "ISIC_2,melanoma", "ISIC_2,nevus", "ISIC_3,moon", "ISIC_4,mel", "ISIC_4,melanoma"]
    path = table(tmp_path, "\n".join(["isic_id,class", *rows]) + "\n")
    found = read_labels(path, CLASSES, {"ISIC_4": ImageFacts(lesion_id="IL_4")})
    assert found.truth.source_id == ["ISIC_1", "ISIC_4"]
    assert found.truth.labels.tolist() == [1, 0]
    assert found.truth.lesion_id == ["", "IL_4"]
    # An image without a lesion id is a lesion of its own.
    assert found.truth.group_id == ["ISIC_1", "IL_4"]
    assert (found.unmapped, found.conflicts) == ({"moon": 1}, 1)


def test_a_table_of_other_classes_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "isic_id,class\nISIC_1,moon\n")
    with pytest.raises(UsageError, match="no image has one of the classes melanoma, nevus; its columns are isic_id"):
        read_labels(path, CLASSES, {})


def test_one_hot_columns_may_have_a_prefix_but_there_is_one_set_of_them(tmp_path: Path) -> None:
    hot = table(tmp_path, "isic_id,dx_mel,dx_nv\nISIC_1,1,0\nISIC_2,0,1\n")
    assert read_labels(hot, CLASSES, {}).truth.labels.tolist() == [0, 1]
    both = table(tmp_path, "isic_id,dx_mel,dx_nv,is_mel,is_nv\nISIC_1,1,0,0,1\n")
    with pytest.raises(
        UsageError, match=r"^--labels .*table.csv: columns dx_mel, ... and is_mel, .*; it has isic_id, dx_mel"
    ):
        read_labels(both, CLASSES, {})


def test_a_known_class_set_is_known_by_its_classes() -> None:
    assert tuple(class_set_of(CLASSES).classes) == CLASSES


def test_a_label_of_several_classes_leaves_them_open(tmp_path: Path) -> None:
    classes = CLASS_SETS["isic9"]
    hot = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_1,0,0,0,0,1,0,0\nISIC_2,0,1,0,0,0,0,0\nISIC_3,0,0,0,1,0,0,0\n"
    truth = read_labels(table(tmp_path, hot), classes, {}).truth
    pairs = ("pigmented benign keratosis", "seborrheic keratosis"), ("actinic keratosis", "squamous cell carcinoma")
    assert truth.vague == tuple((classes.index(one), classes.index(other)) for one, other in pairs)
    assert truth.labels.tolist() == [9, classes.index("nevus"), 10]
    # Another row says which of the two it is.
    told = table(tmp_path, "image,dx\nISIC_1,bkl\nISIC_1,seborrheic keratosis\n", "told.csv")
    truth = read_labels(told, classes, {}).truth
    assert (truth.vague, truth.labels.tolist()) == ((), [classes.index("seborrheic keratosis")])


def test_one_hot_columns_named_as_the_models_own_classes_count(tmp_path: Path) -> None:
    classes = ("Lesion type A", "moon/star", "nevus")
    path = table(
        tmp_path,
        "Image;lesion_type_a;Moon / Star;NEVUS;wart\nISIC_1;1,0;0,0;0,0;0,0\nISIC_2;0,0;1,0;0,0;0,0\n"
        "ISIC_3;0,0;0,0;1,0;0,0\nISIC_4;0,0;0,0;0,0;1,0\n",
    )
    found = read_labels(path, classes, {})
    assert (found.truth.source_id, found.truth.labels.tolist()) == (["ISIC_1", "ISIC_2", "ISIC_3"], [0, 1, 2])
    assert found.unmapped == {"wart": 1}


def test_a_table_without_any_class_says_what_it_holds(tmp_path: Path) -> None:
    path = table(tmp_path, "isic_id,class\nISIC_1,moon\nISIC_2,star\nISIC_3,moon\nISIC_4,\n")
    with pytest.raises(UsageError, match=r"\(it says 'moon' 2, 'star' 1, empty 1\)"):
        read_labels(path, CLASSES, {})


def test_images_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    path = table(tmp_path, "path,class\na/1.jpg,nevus\nb\\1.jpg,melanoma\nb/2.jpg,nevus\n")
    truth = read_labels(path, CLASSES, {}).truth
    assert truth.source_id == ["1", "1", "2"]
    assert truth.path == truth.group_id == ["a/1.jpg", "b/1.jpg", "b/2.jpg"]
    both = table(tmp_path, "image_id,path,dx\nX,a/1.jpg,nv\n", "both.csv")
    assert read_labels(both, CLASSES, {}).truth.source_id == ["X"]


NINE = CLASS_SETS["isic9"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image_id,melanoma,seborrheic_keratosis\nISIC_0000001,0.0,0.0\nISIC_0000002,1.0,0.0\n", "nevus,melanoma"),
        ("||   Name ||   Histological Diagnosis ||   Clinical Diagnosis ||\n|| IMD002 ||  ||   1 ||\n", "nevus"),
        ("img_id,diagnostic,patient_id,lesion_id\nPAT_1.png,SEK,P1,7\n", "seborrheic keratosis"),
        ("file_name;LABEL\na/1.jpg;NEVUS\n", "nevus"),
        ("Image ID\tDX\nISIC_0000001\tMEL\n", "melanoma"),
        ("\ufeffISIC_ID;Diagnosis\nISIC_0000001;N\u00e4vus\n", "nevus"),
    ],
    ids=["ISIC 2017", "PH2", "PAD-UFES-20", "Hugging Face", "tabs and blanks", "mark, semicolons and umlauts"],
)
def test_what_prepare_reads_is_read(text: str, expected: str, tmp_path: Path) -> None:
    truth = read_labels(table(tmp_path, text), NINE, {}).truth
    assert [NINE[label] for label in truth.labels] == expected.split(",")


def test_a_truth_without_a_header_is_read(tmp_path: Path) -> None:
    path = table(tmp_path, "ISIC_0000001,benign\nISIC_0000002,malignant\n")
    truth = read_labels(path, ("benign", "malignant"), {}).truth
    assert (truth.source_id, truth.labels.tolist()) == (["ISIC_0000001", "ISIC_0000002"], [0, 1])


def test_windows_and_utf_16_are_read(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    for encoding in ("cp1252", "utf-16"):
        path.write_bytes("image;dx\r\nISIC_0000001;N\u00e4vus\r\n".encode(encoding))
        assert read_labels(path, NINE, {}).truth.labels.tolist() == [NINE.index("nevus")]


def test_a_truth_by_lesion_needs_the_images_of_each(tmp_path: Path) -> None:
    columns = ("AKIEC", "BCC", "BEN_OTH", "BKL", "DF", "INF", "MAL_OTH", "MEL", "NV", "SCCKA", "VASC")
    row = ",".join("1.0" if name == "MEL" else "0.0" for name in columns)
    path = table(tmp_path, f"lesion_id,{','.join(columns)}\nIL_1,{row}\n")
    with pytest.raises(UsageError, match="says what lesions are; add --metadata CSV with their images"):
        read_labels(path, NINE, {})
    facts = {name: ImageFacts(lesion_id="IL_1") for name in ("ISIC_1", "ISIC_2")}
    truth = read_labels(path, NINE, facts).truth
    assert (truth.source_id, truth.group_id) == (["ISIC_1", "ISIC_2"], ["IL_1", "IL_1"])
    assert truth.labels.tolist() == [NINE.index("melanoma")] * 2


def test_the_users_own_column_of_classes_outranks_a_layout(tmp_path: Path) -> None:
    path = table(tmp_path, "isic_id,malignant,class\nISIC_0000001,1,nevus\n")
    assert read_labels(path, NINE, {}).truth.labels.tolist() == [NINE.index("nevus")]
