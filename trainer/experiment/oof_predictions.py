"""Predictions of a cross-validation's networks for the folds they were not trained on, and their calibration.

Nothing here is fitted to the images that it is judged by: temperatures and thresholds come from the other folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import softmax

from pipelines.domain.decision_rule import EIGHT_VIEWS, flags
from pipelines.domain.probability_table import as_metadata, class_names, read_metadata
from trainer.export.calibration import (
    expected_calibration_error,
    fit_temperature,
    log_frequencies,
    reliability,
    tempered,
)
from trainer.export.loaded_model import read_model_info
from trainer.export.operating_points import operating_points


class OutOfFoldPredictions(NamedTuple):
    """A network's predictions for the n images of its fold, or those of several folds; C classes."""

    source_id: list[str]  # by file name; two images may share one
    sha256: list[str]  # by content
    groups: list[str]  # images that share one belong together
    labels: np.ndarray  # int64 [n]
    probabilities: np.ndarray  # float64 [n, C]
    temperature: np.ndarray  # float64 [n], with which the probabilities were made
    prior: np.ndarray  # float64 [n, C], the class frequencies that the probabilities assume


def read_predictions(evaluation: Path, model: Path, classes: Sequence[str]) -> OutOfFoldPredictions:
    """Read an evaluation's predictions.parquet, and the calibration of the model that made them.

    Args:
        evaluation: The folder of the evaluation.
        model: The model directory.
        classes: Class names in label order.
    """
    table = pq.read_table(evaluation / "predictions.parquet")
    info = read_model_info(model)
    columns = [table[f"probability_{name}"].to_numpy().astype(np.float64) for name in class_names(classes)]
    n = len(table)
    return OutOfFoldPredictions(
        source_id=table["source_id"].to_pylist(),
        sha256=table["sha256"].to_pylist(),
        groups=table["group_id"].to_pylist(),
        labels=table["label"].to_numpy(),
        probabilities=np.stack(columns, axis=1),
        temperature=np.full(n, float(info.calibration["temperature"])),
        prior=np.tile(info.prior, (n, 1)),
    )


def join(folds: Sequence[OutOfFoldPredictions]) -> OutOfFoldPredictions:
    """Concatenate the predictions of several folds, in the order of the folds."""
    return OutOfFoldPredictions(
        source_id=[name for fold in folds for name in fold.source_id],
        sha256=[digest for fold in folds for digest in fold.sha256],
        groups=[name for fold in folds for name in fold.groups],
        labels=np.concatenate([fold.labels for fold in folds]),
        probabilities=np.concatenate([fold.probabilities for fold in folds]),
        temperature=np.concatenate([fold.temperature for fold in folds]),
        prior=np.concatenate([fold.prior for fold in folds]),
    )


def write_out_of_fold(evaluations: Sequence[Path], path: Path) -> None:
    """Write one table of the predictions for all folds: `predictions.parquet` with a column `fold`.

    It names no model, as each fold has its own. The class frequencies that it states are the mean over the images.

    Args:
        evaluations: The folder of each fold's evaluation of eight views, in the order of the folds.
        path: The file to write.
    """
    tables = [pq.read_table(evaluation / "predictions.parquet") for evaluation in evaluations]
    sizes = [len(table) for table in tables]
    columns = tables[0].column_names
    classes = sum(name.startswith("probability_") for name in columns)
    priors = [read_metadata(table.schema.metadata, classes).prior for table in tables]
    together = pa.concat_tables([table.replace_schema_metadata() for table in tables]).drop_columns("model_fingerprint")
    together = together.append_column("fold", pa.array(np.repeat(np.arange(len(tables)), sizes), pa.int32()))
    meaning = as_metadata(np.average(priors, axis=0, weights=sizes), EIGHT_VIEWS)
    pq.write_table(together.replace_schema_metadata(meaning), path)


def uncalibrated(fold: OutOfFoldPredictions) -> np.ndarray:
    """Recover the logits before the temperature, up to a constant per image: float64 [n, C].

    Args:
        fold: Predictions from one view of each image.
    """
    logits = np.log(np.maximum(fold.probabilities, 1e-12))
    return tempered(logits, 1.0 / fold.temperature[:, np.newaxis], log_frequencies(fold.prior))


def calibration_figures(folds: Sequence[OutOfFoldPredictions]) -> dict[str, Any]:
    """Compute the calibration error before and after temperature scaling, and the reliability table after it.

    Each fold gets the temperature that fits the other folds, so no image influences its own calibration.

    Args:
        folds: Predictions from one view of each image, whose probabilities follow from a temperature. A mean over views
            is no longer a softmax of logits.
    """
    pooled = join(folds)
    logits, labels, offset = uncalibrated(pooled), pooled.labels, log_frequencies(pooled.prior)
    of_fold = np.repeat(np.arange(len(folds)), [len(fold.labels) for fold in folds])
    temperatures = []
    for index in range(len(folds)):
        others = of_fold != index
        temperatures.append(fit_temperature(logits[others], labels[others], np.ones(others.sum()), offset[others]))
    before = softmax(logits, axis=1)
    after = softmax(tempered(logits, np.array(temperatures)[of_fold, np.newaxis], offset), axis=1)
    return {
        "n": len(labels),
        "temperatures": temperatures,
        "ece_before": expected_calibration_error(before, labels),
        "ece_after": expected_calibration_error(after, labels),
        "reliability": [asdict(row) for row in reliability(after, labels)],
    }


def flagged_at(target: float, scores: Sequence[np.ndarray], malignant: Sequence[np.ndarray]) -> np.ndarray | None:
    """Flag images at the threshold that has the target sensitivity on the other folds.

    Args:
        target: The sensitivity.
        scores: float [n] of each fold: malignancy scores by its own network.
        malignant: bool [n] of each fold.

    Returns:
        float64 [n], in the order of the folds: 1 for flagged images, else 0. None if for some fold the others have no
        malignant image.
    """
    flagged = []
    for index, score in enumerate(scores):
        others = [other for other in range(len(scores)) if other != index]
        points = operating_points(
            np.concatenate([scores[other] for other in others]),
            np.concatenate([malignant[other] for other in others]),
            [target],
        )
        if not points:
            return None
        flagged.append(flags(score, points[0].threshold).astype(np.float64))
    return np.concatenate(flagged)
