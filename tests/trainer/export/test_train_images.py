"""The model knows which images trained it, by content and lesion."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.documents import model_document, write_model_json
from trainer.data.dataset_info import read_dataset_info
from trainer.evaluate.predictions import read_truth
from trainer.export.loaded_model import read_model_info
from trainer.export.train_images import read_train_images, train_images


def test_an_image_is_known_by_its_content_its_isic_id_or_its_lesion() -> None:
    known = train_images(["a", "b", "b"], ["ISIC_0000001", "IMG_1", "ISIC_0000002_downsampled"], ["L1", "", "L2"])
    assert tuple(map(len, known)) == (2, 2, 2)
    contents, lesions = ["a", "c", "c", "c", "", "c"], ["", "L2", "", "L3", "", ""]
    ids = ["1", "2", "IMG_1", "ISIC_0000003", "", "isic_0000002"]
    assert known.has(contents, ids, lesions).tolist() == [True, True, False, False, False, True]
    assert known.as_bytes() == train_images("ba", ["ISIC_0000002", "ISIC_0000001"], ["L2", "L1"]).as_bytes()


def test_a_trained_model_knows_the_train_split_and_no_other(dataset: Path, trained: Path) -> None:
    known = read_train_images(read_model_info(trained / "model"))
    assert known
    for split in ("train", "validation", "test"):
        truth = read_truth(read_dataset_info(dataset), split, 64)
        assert known.has(truth.sha256, truth.source_id, truth.lesion_id).all() == (split == "train")
        assert known.has(truth.sha256, truth.source_id, truth.lesion_id).any() == (split == "train")
    description = json.loads((trained / "model" / "assets" / "model.json").read_text())
    assert (description["split"], description["fold"]) == ("train", -1)


def test_a_model_that_was_exported_without_digests_has_none(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").touch()
    write_model_json(tmp_path, model_document(["a", "b"], ["b"], 32))
    assert read_train_images(read_model_info(tmp_path)) is None
