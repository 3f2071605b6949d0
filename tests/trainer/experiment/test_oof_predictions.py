"""Predictions for folds that a network never saw: read back, joined, and judged by what the other folds say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.special import log_softmax, softmax

from pipelines.audit.predictions import require_predictions
from pipelines.domain.decision_rule import EIGHT_VIEWS
from pipelines.domain.probability_table import read_metadata
from tests.support.simulated_predictions import simulate
from tests.support.tiny_dataset import CLASSES
from trainer.evaluate.predictions import GroundTruth, Predictions, write_predictions
from trainer.experiment.oof_predictions import (
    OutOfFoldPredictions,
    calibration_figures,
    flagged_at,
    join,
    read_predictions,
    uncalibrated,
    write_out_of_fold,
)
from trainer.export.calibration import log_frequencies, tempered

PRIOR = np.array([0.2, 0.3, 0.5])


def test_the_folds_become_one_table_that_audit_reads(tmp_path: Path) -> None:
    """It names each image's fold and no single model, and its prior is the mean over the images."""
    folds, sizes = [tmp_path / "0", tmp_path / "1"], (1, 3)
    for fold, (folder, size) in enumerate(zip(folds, sizes, strict=True)):
        names = [f"{fold}-{index}" for index in range(size)]
        truth = GroundTruth(names, names, names, names, np.zeros(size, np.int64))
        prior = np.eye(len(CLASSES))[fold]
        probabilities = np.full((size, len(CLASSES)), 1 / len(CLASSES), np.float32)
        folder.mkdir()
        write_predictions(
            Predictions(truth, probabilities, 1.0, prior, EIGHT_VIEWS),
            truth.labels,
            CLASSES,
            str(fold),
            folder / "predictions.parquet",
        )
    write_out_of_fold(folds, tmp_path / "all.parquet")
    table = pq.read_table(tmp_path / "all.parquet")
    assert table["source_id"].to_pylist() == ["0-0", "1-0", "1-1", "1-2"]
    assert table["fold"].to_pylist() == [0, 1, 1, 1]
    assert "model_fingerprint" not in table.column_names
    meaning = read_metadata(table.schema.metadata, len(CLASSES))
    assert meaning.prior.tolist()[:2] == [0.25, 0.75]
    assert meaning.views == EIGHT_VIEWS
    require_predictions(str(tmp_path / "all.parquet"), CLASSES)


def fold_of(seed: int, temperature: float = 2.0, n: int = 200) -> tuple[np.ndarray, OutOfFoldPredictions]:
    """Predictions of a network whose logits were divided by a temperature."""
    labels, probabilities, groups = simulate(n, 3, 1.0, seed=seed)
    logits = np.log(probabilities)
    return logits, OutOfFoldPredictions(
        source_id=[f"{seed}-{index}" for index in range(n)],
        sha256=[f"{seed}-{index}" for index in range(n)],
        groups=[str(group) for group in groups],
        labels=labels,
        probabilities=softmax(tempered(logits, temperature, log_frequencies(PRIOR)), axis=1),
        temperature=np.full(n, temperature),
        prior=np.tile(PRIOR, (n, 1)),
    )


def test_what_an_evaluation_wrote_is_read_with_the_calibration_of_its_model(trained: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels, probabilities = random.integers(0, 4, 20), random.dirichlet([1] * 4, 20)
    ids = [f"image {index}" for index in range(20)]
    truth = GroundTruth(ids, ids, [""] * 20, [f"lesion {index // 2}" for index in range(20)], labels)
    predictions = Predictions(truth, probabilities.astype(np.float32), None, np.full(4, 0.25), "one_view")
    write_predictions(predictions, probabilities.argmax(axis=1), CLASSES, "m", tmp_path / "predictions.parquet")
    found = read_predictions(tmp_path, trained / "model", CLASSES)
    assert (found.source_id, found.groups) == (ids, truth.group_id)
    assert found.labels.tolist() == labels.tolist()
    assert found.probabilities.dtype == np.float64
    np.testing.assert_allclose(found.probabilities, probabilities, atol=1e-7)
    calibration = json.loads((trained / "model/assets/model.json").read_text())["calibration"]
    assert found.temperature.tolist() == [calibration["temperature"]] * 20
    assert np.array_equal(found.prior, np.tile([calibration["prior"][name] for name in CLASSES], (20, 1)))


def test_folds_are_joined_in_their_order() -> None:
    folds = [fold_of(seed, n=n)[1] for seed, n in ((1, 3), (2, 5))]
    joined = join(folds)
    assert joined.source_id == folds[0].source_id + folds[1].source_id
    assert np.array_equal(joined.probabilities[3:], folds[1].probabilities)
    assert [len(column) for column in joined] == [8] * 7


def test_logits_before_the_temperature_are_found_up_to_a_constant() -> None:
    logits, fold = fold_of(1, temperature=3.0)
    found = uncalibrated(fold)
    np.testing.assert_allclose(log_softmax(found, axis=1), log_softmax(logits, axis=1), atol=1e-6)


def test_every_fold_gets_the_temperature_of_the_others() -> None:
    folds = [fold_of(seed)[1] for seed in (1, 2, 3)]
    figures = calibration_figures(folds)
    assert (figures["n"], len(figures["temperatures"])) == (600, 3)
    # The first fold's own labels do not touch its temperature, only those of the others.
    changed = folds[0]._replace(labels=(folds[0].labels + 1) % 3)
    again = calibration_figures([changed, *folds[1:]])
    assert again["temperatures"][0] == figures["temperatures"][0]
    assert again["temperatures"][1] != pytest.approx(figures["temperatures"][1])


def test_an_image_is_flagged_at_the_threshold_of_the_other_folds() -> None:
    scores = [np.array([0.1, 0.9]), np.array([0.5, 0.2]), np.array([0.3, 0.6])]
    malignant = [np.array([False, True]), np.array([True, False]), np.array([True, False])]
    # Of the others' malignant images the lowest scores are 0.3, 0.3 and 0.5.
    flagged = flagged_at(1.0, scores, malignant)
    assert flagged is not None
    assert flagged.tolist() == [0, 1, 1, 0, 0, 1]
    assert flagged_at(1.0, scores[:2], [malignant[0], np.array([False, False])]) is None
