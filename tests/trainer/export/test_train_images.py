"""The model knows which images trained it, by content and lesion."""

from __future__ import annotations

import json
from pathlib import Path

from trainer.data.dataset_info import read_dataset_info
from trainer.evaluate.predictions import read_truth
from trainer.export.train_images import read_train_images, train_images


def test_an_image_is_known_by_its_content_or_by_its_lesion_if_it_has_one() -> None:
    known = train_images(["a", "b", "b"], ["L1", "", "L2"])
    assert (len(known.contents), len(known.lesions)) == (2, 2)
    found = known.has(["a", "c", "c", "c"], ["", "L2", "", "L3"])
    assert found.tolist() == [True, True, False, False]
    assert known.as_bytes() == train_images(["b", "a"], ["L2", "L1"]).as_bytes()


def test_a_trained_model_knows_the_train_split_and_no_other(dataset: Path, trained: Path) -> None:
    known = read_train_images(str(trained / "model"))
    assert known
    for split in ("train", "validation", "test"):
        truth = read_truth(read_dataset_info(dataset), split, 64)
        assert known.has(truth.sha256, truth.lesion_id).all() == (split == "train")
        assert known.has(truth.sha256, truth.lesion_id).any() == (split == "train")
    description = json.loads((trained / "model" / "assets" / "model.json").read_text())
    assert (description["split"], description["fold"]) == ("train", -1)


def test_a_model_from_before_there_were_digests_has_none(tmp_path: Path) -> None:
    assert read_train_images(str(tmp_path)) is None
