"""Layouts: a table is known by its columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.domain.layout_registry import LAYOUTS, recognize
from pipelines.sources.metadata_tables import table_rows
from pipelines.sources.source import Source, Table

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
def test_a_table_is_known_by_its_columns(name: str) -> None:
    header, layout = HEADERS[name]
    columns = header.split(",")
    assert recognize(columns) == recognize(columns[::-1]) == layout


def test_real_tables_are_known_by_their_headers(shared_data: Path) -> None:
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


def test_every_named_layout_has_a_title_and_the_report_names_it() -> None:
    titles = [layout.title for layout in LAYOUTS.values()]
    assert len(set(titles)) == len(titles)
    source = Source("a", "/a", "isic2019", (Table("/t.csv", layout="isic2019"),))
    assert source.as_json() == {"name": "a", "path": "/a", "layout": "isic2019", "tables": ["/t.csv"]}
    assert Source("a", "/a").as_json()["layout"] == "class folders"
