"""What the tables of published sets say of their images."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from pipelines.domain.labels import resolve_label, table_claims
from pipelines.domain.layout_registry import recognize
from pipelines.domain.metadata_columns import Columns, Facts
from pipelines.domain.taxonomy import ClassSet, built_in_set, named_set
from pipelines.sources.inputs import complete_inputs, read_inputs
from pipelines.sources.metadata_search import columns_of
from pipelines.sources.metadata_tables import read_facts, read_overview
from tests.support.workbook_files import xlsx

Said = tuple[str, str, str, str]  # image id, first label or all one-hot columns, lesion id, patient id

DERM7PT = (
    "case_num,diagnosis,seven_point_score,pigment_network,streaks,pigmentation,regression_structures,dots_and_globules,"
    "blue_whitish_veil,vascular_structures,level_of_diagnostic_difficulty,elevation,location,sex,management,clinic,derm,"
    "case_id,notes"
)
PAD_UFES = (
    "patient_id,lesion_id,smoke,drink,background_father,background_mother,age,pesticide,gender,skin_cancer_history,"
    "cancer_history,has_piped_water,has_sewage_system,fitspatrick,region,diameter_1,diameter_2,diagnostic,itch,grew,"
    "hurt,changed,bleed,elevation,img_id,biopsed"
)
PH2 = (
    "||   Name  ||   Histological Diagnosis   ||  Clinical Diagnosis  ||   Asymmetry   ||  Colors  ||\n"
    "|| IMD003 ||                     ||          0           ||       0       ||   4      ||\n"
    "|| IMD058 || Melanoma  in situ   ||          2           ||       2       ||   3  4   ||\n"
    "|| IMD002 ||                     ||          1           ||       1       ||   3 4    ||\n"
    "\nLegends:\nClinical Diagnosis: 0 - Common Nevus; 1 - Atypical Nevus; 2 - Melanoma.\n"
)
TABLES: dict[str, tuple[str, str, list[Said]]] = {
    "training truth of 2016": (
        "isic2016",
        "ISIC_0000000,benign\r\nISIC_0000002,malignant\r\n",
        [("ISIC_0000000", "benign", "", ""), ("ISIC_0000002", "malignant", "", "")],
    ),
    "test truth of 2016": (
        "isic2016",
        "ISIC_0000003,0.0\nISIC_0000012,1.0\n",
        [("ISIC_0000003", "benign", "", ""), ("ISIC_0000012", "malignant", "", "")],
    ),
    "2017": (
        "isic2017",
        "image_id,melanoma,seborrheic_keratosis\nISIC_0000000,0.0,0.0\nISIC_0000001,1.0,0.0\nISIC_0000002,0.0,1.0\n"
        "ISIC_0000003,1.0,1.0\nISIC_0000004,,\n",
        [
            ("ISIC_0000000", "nevus", "", ""),
            ("ISIC_0000001", "melanoma", "", ""),
            ("ISIC_0000002", "seborrheic_keratosis", "", ""),
            # Two ones are two claims, which disagree.
            ("ISIC_0000003", "melanoma, seborrheic_keratosis", "", ""),
            ("ISIC_0000004", "", "", ""),
        ],
    ),
    "2016 with names of files, and large letters": (
        "isic2016",
        "ISIC_0000000.jpg;BENIGN\nISIC_0000002.jpg;Malignant\n",
        [("ISIC_0000000", "benign", "", ""), ("ISIC_0000002", "malignant", "", "")],
    ),
    "2017 with flags that say nothing, and ids": (
        "isic2017",
        "Image_ID,melanoma,seborrheic_keratosis,Lesion_ID,patient_id\nISIC_0000000,NA,NA,L1,P1\n"
        "ISIC_0000001,-1,-1,L1,P1\nISIC_0000002,0.3,0.2,L1,\nISIC_0000003,False,NA,L1,\nISIC_0000004,no,0,L2,P2\n",
        [
            ("ISIC_0000000", "", "L1", "P1"),
            ("ISIC_0000001", "", "L1", "P1"),
            ("ISIC_0000002", "", "L1", ""),
            ("ISIC_0000003", "", "L1", ""),
            ("ISIC_0000004", "nevus", "L2", "P2"),
        ],
    ),
    "PAD-UFES-20 with ids that are missing": (
        "pad_ufes",
        "Patient_ID,Lesion_ID,diagnostic,img_id\nnan,12,BCC,a.png\n0,0,BCC,b.png\nPAT_1,NA,NEV,c.png\n"
        ",13,NEV,d.png\nPAT_1,14,NEV,e.png\n",
        [
            ("a", "BCC", "12", ""),
            ("b", "BCC", "", ""),
            ("c", "NEV", "", "PAT_1"),
            ("d", "NEV", "13", ""),
            ("e", "NEV", "PAT_1_14", "PAT_1"),
        ],
    ),
    "Derm7pt with a case that is missing": (
        "derm7pt",
        "case_num,diagnosis,clinic,derm,patient_id\nNA,clark nevus,a.jpg,b.jpg,P1\n",
        [("a", "clark nevus", "", "P1"), ("b", "clark nevus", "", "P1")],
    ),
    "2024": (
        "isic2024",
        "isic_id,target,patient_id,age_approx,iddx_full,iddx_1,lesion_id\n"
        "ISIC_0015670,0,IP_1235828,60.0,Benign,Benign,\n",
        [("ISIC_0015670", "Benign", "", "IP_1235828")],
    ),
    "truth of 2024": (
        "isic2024",
        "isic_id,malignant\nISIC_0015670,0.0\nISIC_0015671,1.0\nISIC_0015672,NA\n",
        [
            ("ISIC_0015670", "benign", "", ""),
            ("ISIC_0015671", "malignant", "", ""),
            ("ISIC_0015672", "", "", ""),
        ],
    ),
    "supplement of 2024": (
        "isic2024",
        "isic_id,lesion_id,iddx_full,iddx_1,iddx_2\nISIC_0015670,IL_0000001,Benign,Benign,\n",
        [("ISIC_0015670", "Benign", "IL_0000001", "")],
    ),
    "PAD-UFES-20": (
        "pad_ufes",
        f"{PAD_UFES}\nPAT_46,881,False,False,POMERANIA,POMERANIA,55,False,FEMALE,True,True,True,True,3.0,NECK,6.0,5.0,BCC,"
        "True,True,False,True,True,True,PAT_46_881_14.png,True\n",
        [("PAT_46_881_14", "BCC", "PAT_46_881", "PAT_46")],
    ),
    "Derm7pt": (
        "derm7pt",
        f"{DERM7PT}\n1,clark nevus,1,absent,absent,absent,absent,irregular,absent,absent,medium,flat,back,male,"
        "clinical follow up,NEL/NEL025.JPG,NEL/NEL026.JPG,,\n",
        [("NEL025", "clark nevus", "derm7pt_1", ""), ("NEL026", "clark nevus", "derm7pt_1", "")],
    ),
    "PH2": (
        "ph2",
        PH2,
        [
            ("IMD003", "common nevus", "", ""),
            ("IMD058", "melanoma", "", ""),
            ("IMD002", "atypical nevus", "", ""),
        ],
    ),
}


def write_source(folder: Path, table: Path) -> Path:
    """Write a file of sources that names the table as that of ISIC 2017."""
    path = folder / "sources.yaml"
    path.write_text(f"sources:\n- images: {folder}\n  layout: isic2017\n  metadata: [{table}]\n")
    return path


def said(image: str, facts: Facts) -> Said:
    return image, next(iter(facts.labels), ", ".join(facts.hot)), facts.lesion_id, facts.patient_id


@pytest.mark.parametrize("name", TABLES)
def test_the_table_of_a_published_set_says_what_its_images_show(tmp_path: Path, name: str) -> None:
    layout, text, expected = TABLES[name]
    path = tmp_path / "table.csv"
    path.write_text(text, newline="")
    assert recognize(read_overview(str(path)).names) == layout
    assert [said(*found) for found in read_facts(str(path), Columns())] == expected


@pytest.mark.parametrize(
    "column", ["dx", "diagnosis_1", "Label", "target", "nevus", "basal_cell_carcinoma", "other", "Rest", "none"]
)
def test_a_table_with_further_columns_of_classes_is_not_that_of_2017(tmp_path: Path, column: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"image_id,{column},melanoma,seborrheic_keratosis\nISIC_0000000,1,0,0\n")
    names = read_overview(str(path)).names
    assert recognize(names) != "isic2017"
    assert "nevus" not in [label for _, facts in read_facts(str(path), Columns()) for label in facts.labels]
    with pytest.raises(UsageError, match=f"its column {column} is of classes too"):
        complete_inputs(read_inputs([str(write_source(tmp_path, path))], []), Columns())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("no", ["benign", "0.0", "0,0"])
def test_the_table_of_2016_without_a_header_is_known_however_it_was_saved(
    tmp_path: Path, encoding: str, delimiter: str, no: str
) -> None:
    if delimiter == "," and "," in no:
        no = f'"{no}"'
    path = tmp_path / "table.csv"
    rows = [f"ISIC_000000{number}{delimiter}{no}" for number in range(3)]
    path.write_bytes("\r\n".join([*rows, f"ISIC_0000003{delimiter}malignant"]).encode(encoding))
    assert recognize(columns_of(str(path))) == recognize(read_overview(str(path)).names) == "isic2016"
    assert [said(*found)[:2] for found in read_facts(str(path), Columns())] == [
        *((f"ISIC_000000{number}", "benign") for number in range(3)),
        ("ISIC_0000003", "malignant"),
    ]


def test_the_licence_in_a_table_of_a_published_set_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("image_id,melanoma,seborrheic_keratosis,copyright_license\nISIC_0000000,1,0,CC-0\n")
    assert [facts.license for _, facts in read_facts(str(path), Columns())] == ["CC-0"]


MILK_CLASSES = "AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC"


def claimed(table: Path, class_set: ClassSet, images: str = "") -> dict[str, str]:
    """The class of each image by its table alone, or why it has none."""
    found = {}
    for image, facts in read_facts(str(table), Columns(), images=images):
        resolved = resolve_label(table_claims("t", facts.labels, facts.hot, class_set))
        found[image] = resolved.label or resolved.reason
    return found


def test_the_workbook_of_ph2_is_read_below_its_title_and_legend(tmp_path: Path) -> None:
    header = ["Image Name", "Histological Diagnosis", "Common Nevus", "Atypical Nevus", "Melanoma", "Asymmetry", "Red"]
    rows: list[list[str | float | None]] = [
        ["IMD003", None, "X", None, None, 0.0, "X"],
        ["IMD009", None, None, "x", None, 1.0],
        ["IMD058", "in situ", None, None, "X"],
    ]
    path = tmp_path / "PH2_dataset.xlsx"
    path.write_bytes(
        xlsx({"PH2": [["PH2 Dataset"], [], ["Legends", "Asymmetry"], [None, "0 - Symmetric"], header, *rows]})
    )
    assert recognize(columns_of(str(path))) == recognize(read_overview(str(path)).names) == "ph2"
    assert claimed(path, named_set(["melanoma", "nevus"])) == {
        "IMD003": "nevus",
        "IMD009": "nevus",
        "IMD058": "melanoma",
    }


def test_two_ones_are_a_conflict_also_where_the_class_set_lacks_one_of_them(tmp_path: Path) -> None:
    truth = tmp_path / "2017.csv"
    truth.write_text("image_id,melanoma,seborrheic_keratosis\nISIC_0000000,1,0\nISIC_0000001,1,1\n")
    assert claimed(truth, named_set(["melanoma", "nevus"])) == {
        "ISIC_0000000": "melanoma",
        "ISIC_0000001": "label_conflict",
    }
    images = tmp_path / "metadata.csv"
    images.write_text(
        "lesion_id,image_type,isic_id,skin_tone_class\n" + "".join(f"IL_{n},d,ISIC_000000{n},3\n" for n in range(4))
    )
    lesions = tmp_path / "milk.csv"
    ones: tuple[list[str], ...] = (["MEL"], ["MEL", "BEN_OTH"], ["BEN_OTH"], [])
    rows = [[f"IL_{n}", *(str(name in hot) for name in MILK_CLASSES.split(","))] for n, hot in enumerate(ones)]
    lesions.write_text("\n".join(",".join(row) for row in [["lesion_id", MILK_CLASSES], *rows]))
    for class_set in (built_in_set("isic9"), named_set(["melanoma", "nevus"])):
        assert list(claimed(lesions, class_set, str(images)).values()) == [
            "melanoma",
            "label_conflict",
            "unmapped_label",
            "unmapped_label",
        ]


def test_ground_truth_by_lesion_is_of_both_photographs_of_the_lesion(tmp_path: Path) -> None:
    images = tmp_path / "MILK10k_Training_Input"
    images.mkdir()
    truth = tmp_path / "MILK10k_Training_GroundTruth.csv"
    ones = ",".join("1.0" if name == "SCCKA" else "0.0" for name in MILK_CLASSES.split(","))
    truth.write_text(f"lesion_id,{MILK_CLASSES}\nIL_0000652,{ones}\n")
    with pytest.raises(UsageError, match="name the table too that has their images"):
        complete_inputs(read_inputs([str(images)], [str(truth)]), Columns())
    metadata = tmp_path / "MILK10k_Training_Metadata.csv"
    metadata.write_text(
        "lesion_id,image_type,isic_id,copyright_license,skin_tone_class\n"
        "IL_0000652,dermoscopic,ISIC_4671410,CC-BY-NC,3\nIL_0000652,clinical: close-up,ISIC_8149219,CC-BY-NC,3\n"
    )
    inputs = complete_inputs(read_inputs([f"milk10k={images}"], []), Columns())
    tables = {Path(table.path).name: table for table in inputs.sources[0].tables}
    assert set(tables) == {truth.name, metadata.name}
    found = tables[truth.name]
    assert [said(*one) for one in read_facts(found.path, found.columns, images=found.images)] == [
        ("ISIC_4671410", "SCCKA", "IL_0000652", ""),
        ("ISIC_8149219", "SCCKA", "IL_0000652", ""),
    ]
