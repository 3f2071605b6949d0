"""Tables that the user names: what they say of images and people, and what they lack."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from tests.support.text_tables import table
from trainer.evaluate.metadata_tables import ImageFacts, has_subgroup_columns, read_image_facts


def test_facts_are_read_from_the_columns_of_several_archives(tmp_path: Path) -> None:
    archive = table(tmp_path, "isic_id,age_approx,sex,anatom_site_1,lesion_id\nISIC_1.jpg,45,Female,Trunk,IL_9\n")
    ham = table(tmp_path, "image_id,age,sex,localization\nISIC_2,NaN,unknown,back\nISIC_3,-4,male,\n", "ham.csv")
    assert read_image_facts([archive, ham]) == {
        "ISIC_1": ImageFacts(45.0, "female", "trunk", "IL_9"),
        "ISIC_2": ImageFacts(None, "", "back", ""),
        "ISIC_3": ImageFacts(None, "male", "", ""),
    }


def test_the_first_table_that_knows_a_fact_counts(tmp_path: Path) -> None:
    first = table(tmp_path, "isic_id,age_approx\nISIC_1,\nISIC_2,30\n")
    second = table(tmp_path, "isic_id,age_approx,sex\nISIC_1,50,male\nISIC_2,60,female\n", "second.csv")
    facts = read_image_facts([first, second])
    assert facts["ISIC_1"] == ImageFacts(50.0, "male")
    assert facts["ISIC_2"] == ImageFacts(30.0, "female")


def test_whether_a_table_divides_images_into_subgroups(tmp_path: Path) -> None:
    assert has_subgroup_columns(table(tmp_path, "isic_id,sex\nISIC_1,male\n"), "--labels")
    labels = table(tmp_path, "isic_id,class\nISIC_1,nevus\n", "labels.csv")
    assert not has_subgroup_columns(labels, "--labels")
    with pytest.raises(UsageError, match=r"--metadata .*labels.csv: needs one of age_approx, age, .*; it has isic_id"):
        read_image_facts([labels])


def test_a_table_without_ids_or_without_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--labels .*table.csv: needs a column .*; it has name, sex"):
        has_subgroup_columns(table(tmp_path, "name,sex\nx,male\n"), "--labels")
    with pytest.raises(UsageError, match=r"--metadata .*none.csv: cannot be read \(No such file or directory\)"):
        read_image_facts([tmp_path / "none.csv"])
