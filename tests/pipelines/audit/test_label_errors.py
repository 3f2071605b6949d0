"""Labels that are probably wrong, by confident learning."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from pipelines.audit.label_errors import (
    FindLabelErrors,
    Predicted,
    error_json,
    error_order,
    label_error,
    tally_confidence,
    threshold,
)
from pipelines.audit.predictions import PARTS
from pipelines.dataset.image_row import Place
from tests.support.collecting import run_source
from tests.support.image_rows import row
from tests.support.out_of_fold import write_table

CLASSES = ("melanoma", "nevus", "keratosis")


def _predicted(label: int, *probabilities: float, name: str = "a") -> Predicted:
    return Predicted(name, Place(name, None, name), label, tuple(round(one * PARTS) for one in probabilities))


def _totals(images: list[Predicted]) -> Counter:
    return sum(map(tally_confidence, images), Counter())


def test_the_images_found_are_those_off_the_diagonal_of_the_confident_joint() -> None:
    """Against cleanlab's definition: a class counts where its probability reaches the mean of its own images."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 400)
    logits = random.normal(size=(400, 3)) + 2 * np.eye(3)[np.where(random.random(400) < 0.1, (labels + 1) % 3, labels)]
    parts = np.rint(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True) * PARTS).astype(int)
    images = [
        Predicted(str(n), Place(str(n), None, str(n)), int(label), tuple(map(int, row)))
        for n, (label, row) in enumerate(zip(labels, parts, strict=True))
    ]
    usual = [parts[labels == label, label].mean() for label in range(3)]
    expected = {}
    for image in images:
        reached = [label for label in range(3) if image.parts[label] >= usual[label]]
        first = int(np.argmax(image.parts))
        guess = reached[0] if len(reached) == 1 else first
        if reached and image.label not in (guess, first):
            expected[image.image_id] = CLASSES[guess]
    totals = _totals(images)
    found = [error for image in images for error in label_error(image, totals, CLASSES)]
    assert {error.image_id: error.suggested for error in found} == expected
    assert 10 < len(found) < 100
    assert [threshold(totals, label) * PARTS for label in range(3)] == usual


def test_a_hesitant_class_has_a_lower_threshold_and_a_class_without_images_none() -> None:
    sure, unsure = [_predicted(0, 0.9, 0.1, 0.0)] * 4, [_predicted(1, 0.6, 0.4, 0.0)] * 4
    totals = _totals([*sure, *unsure])
    # Argmax would call all of the second class wrong.
    assert list(label_error(unsure[0], totals, CLASSES)) == []
    (error,) = label_error(_predicted(1, 0.95, 0.05, 0.0), totals, CLASSES)
    assert (error.label, error.suggested) == ("nevus", "melanoma")
    assert error_json(error)["probability_of_suggested"] == 0.95
    assert list(label_error(_predicted(1, 0.0, 0.1, 0.9), totals, CLASSES)) == []


def test_the_least_probable_label_comes_first() -> None:
    totals = _totals([_predicted(0, 0.8, 0.2, 0.0), _predicted(1, 0.2, 0.8, 0.0)])
    images = [_predicted(1, 1 - p, p, 0.0, name=name) for name, p in (("b", 0.1), ("a", 0.1), ("c", 0.0))]
    errors = [error for image in images for error in label_error(image, totals, CLASSES)]
    assert [error.image_id for error in sorted(errors, key=error_order)] == ["c", "a", "b"]


def test_images_are_joined_by_isic_id_or_else_by_content(tmp_path: Path) -> None:
    certain, wrong = (0.9, 0.1, 0.0), (0.1, 0.9, 0.0)
    path = write_table(
        tmp_path / "oof.parquet",
        CLASSES,
        [
            ("ISIC_0000001", "other bytes", wrong),
            ("1", "c1", certain),
            ("2", "c2", (0.2, 0.8, 0.0)),
            ("ISIC_0000009", "c9", wrong),
        ],
    )
    rows = [
        row("x/ISIC_0000001.jpg", image_id="ISIC_0000001", label="melanoma", sha256="b1"),
        row("y/1.jpg", image_id="1", label="melanoma", sha256="c1"),
        row("y/2.jpg", image_id="2", label="nevus", sha256="c2"),
        row("z/1.jpg", image_id="1", label="melanoma", sha256="unknown"),
    ]
    import apache_beam as beam

    class Errors(beam.PTransform):
        def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
            return (begin | beam.Create(rows) | FindLabelErrors(str(path), CLASSES)).errors

    assert [error.place.relative for error in run_source(Errors())] == ["x/ISIC_0000001.jpg"]
