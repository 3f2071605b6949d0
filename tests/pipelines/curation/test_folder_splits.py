"""Splits that folder names give."""

from __future__ import annotations

import pytest

from pipelines.curation.folder_splits import KNOWN, folder_split


def test_the_deepest_folder_that_names_a_split_decides() -> None:
    assert [folder_split(path) for path in (["data", "Train", "nevus"], ["test"], ["Valid", "x"], ["nevus"])] == [
        "train",
        "test",
        "validation",
        "",
    ]
    assert folder_split(["train_dir", "test_images", "nevus"]) == "test"


@pytest.mark.parametrize(
    ("names", "split"),
    [
        ("train Training train_dir TrainSet training-data images_train ISIC_2019_Training_Input", "train"),
        ("ISBI2016_ISIC_Part3_Training_Data ISIC2018_Task3_Training_Input train_data_2020", "train"),
        ("val valid Validation val_dir valset validation_split ISIC2018_Task3_Validation_Input", "validation"),
        ("test Testing test_dir test_folder imgs-test testdata ISIC-2017_Test_Data", "test"),
        (
            "ISIC_2020_Training_JPEG HAM10000_train PAD-UFES-20_train train_512x512 train2017 train-00000-of-00002",
            "train",
        ),
        ("ISIC-2017_Test_v2_Data MILK10k_Test_Input ISIC2019TestInput test_set_v1.1 fold1-test", "test"),
        ("ISIC-2017_Validation_Data val2017 milk10k_val_jpg", "validation"),
        ("contest_data testimonials latestdata attest_images test_strips latest_2019 untrained train-test-split", ""),
        ("base_dir data images 2019 trainval train_and_test test_time my_test contest latest training_notes task3", ""),
    ],
)
def test_words_beside_the_split_may_be_those_that_change_nothing(names: str, split: str) -> None:
    assert {name: folder_split([name]) for name in names.split()} == dict.fromkeys(names.split(), split)


def test_the_help_names_what_is_known() -> None:
    assert all(name in KNOWN for name in ("train", "testing", "train_dir"))
