"""The worst mistakes: which images they are, in which order, and how they are drawn."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.tiny_dataset import SIZE, draw, jpeg
from trainer.evaluate import mistakes
from trainer.evaluate.mistakes import SHOWN, worst_mistakes
from trainer.evaluate.predictions import GroundTruth

CLASSES = ("melanoma", "nevus")


def truth_of(labels: np.ndarray) -> GroundTruth:
    ids = [f"image {number}" for number in range(len(labels))]
    return GroundTruth(ids, [f"content {number}" for number in range(len(labels))], [""] * len(labels), ids, labels)


def found_for(
    labels: np.ndarray, of_melanoma: np.ndarray, malignant: Sequence[str] = CLASSES[:1]
) -> dict[str, list[Any]]:
    probabilities = np.stack([of_melanoma, 1 - of_melanoma], axis=1)
    return worst_mistakes(truth_of(labels), probabilities, probabilities.argmax(axis=1), CLASSES, malignant)


def test_a_mistake_says_what_the_image_is_and_what_it_was_called() -> None:
    (entry,) = found_for(np.array([0, 1]), np.array([0.25, 0.125]))["missed"]
    assert entry == {
        "source_id": "image 0",
        "sha256": "content 0",
        "class": "melanoma",
        "predicted": "nevus",
        "probability": 0.75,
        "probability_of_class": 0.25,
        "malignancy_score": 0.25,
    }


def test_at_most_so_many_of_each_kind_are_kept_and_the_worst_first() -> None:
    scores = np.linspace(0.01, 0.4, SHOWN + 5)
    found = found_for(np.zeros(len(scores), int), scores)
    assert [entry["malignancy_score"] for entry in found["missed"]] == pytest.approx(scores[:SHOWN])
    assert [entry["probability"] for entry in found["confident"]] == pytest.approx(1 - scores[:SHOWN])
    assert found["false_alarms"] == []


def test_without_malignant_classes_only_confident_mistakes_are_left() -> None:
    found = found_for(np.array([0, 1]), np.array([0.2, 0.9]), malignant=())
    assert (found["missed"], found["false_alarms"]) == ([], [])
    assert [entry["source_id"] for entry in found["confident"]] == ["image 1", "image 0"]
    assert "malignancy_score" not in found["confident"][0]


def test_images_are_drawn_once_each_and_without_a_network_they_have_no_map() -> None:
    listed = {kind: [{"sha256": name, "predicted": "nevus"} for name in "ab"] for kind in ("missed", "confident")}
    pictures = mistakes.draw(listed, {"a": jpeg(draw(0, 1))}, "jpeg", SIZE, CLASSES, None)
    assert pictures.keys() == {"a"}
    assert pictures["a"].map is None
    with Image.open(io.BytesIO(pictures["a"].image)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (SIZE, SIZE))


def test_raw_pixels_are_drawn_like_those_of_a_file() -> None:
    pixels = draw(1, 3)
    listed = {"missed": [{"sha256": "a", "predicted": "nevus"}]}
    drawn = mistakes.draw(listed, {"a": pixels.tobytes()}, "raw", SIZE, CLASSES, None)["a"].image
    shown = np.asarray(Image.open(io.BytesIO(drawn))).astype(int)
    assert abs(shown - pixels.astype(int)).mean() < 16
