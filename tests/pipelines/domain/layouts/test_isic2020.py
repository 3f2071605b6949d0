"""ISIC 2020."""

from __future__ import annotations

from pathlib import Path

from pipelines.domain.layout_registry import recognize
from pipelines.domain.metadata_columns import Columns
from pipelines.sources.metadata_tables import read_facts, read_overview

HEADER = (
    "image_name,patient_id,lesion_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target"
)


def test_version_2_has_lesions_and_says_benign_where_the_diagnosis_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text(f"{HEADER}\nISIC_2637011,IP_7279968,IL_7972535,male,45.0,head/neck,unknown,benign,0\n")
    assert recognize(read_overview(str(path)).names) == "isic2020"
    ((image, facts),) = read_facts(str(path), Columns())
    assert (image, facts.lesion_id, facts.patient_id) == ("ISIC_2637011", "IL_7972535", "IP_7279968")
    assert "benign" in facts.labels
