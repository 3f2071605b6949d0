"""What the folds of a cross-validation say together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from scipy.special import softmax

from pipelines.class_columns import class_names
from pipelines.decisions import prior_of_model
from pipelines.taxonomy import melanoma_class
from trainer import metrics
from trainer.calibration import expected_calibration_error, fit_temperature, reliability
from trainer.dataset_info import DatasetInfo

if TYPE_CHECKING:
    from trainer.changes import Change
    from trainer.experiment import Turn

# Figures of one fold whose mean and spread over the folds are reported.
SPREAD = ("balanced_accuracy", "mean_auc", "melanoma_auc", "melanoma_sensitivity", "malignant_auc", "accuracy")


class FoldPredictions(NamedTuple):
    """What the network of one fold says of it. n images, C classes.

    labels int64 [n]; groups str [n]; probabilities float64 [n, C]; temperature: with which they were made; prior [C]:
    the class frequencies they stand for.
    """

    labels: np.ndarray
    groups: np.ndarray
    probabilities: np.ndarray
    temperature: float
    prior: np.ndarray


def read_predictions(turn: Turn, classes: Sequence[str]) -> FoldPredictions:
    """The predictions.parquet of a turn's evaluation, and what its model says of them."""
    table = pq.read_table(turn.evaluation / "predictions.parquet")
    model = json.loads((turn.train / "model/assets/model.json").read_text(encoding="utf-8"))
    columns = [table[f"probability_{name}"].to_numpy().astype(np.float64) for name in class_names(classes)]
    return FoldPredictions(
        labels=table["label"].to_numpy(),
        groups=np.array(table["group_id"].to_pylist()),
        probabilities=np.stack(columns, axis=1),
        temperature=float(model["calibration"]["temperature"]),
        prior=np.array(prior_of_model(model["calibration"], classes)),
    )


def fold_figures(evaluation: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures named in SPREAD, out of an evaluation.json; None where one does not exist."""
    figures = evaluation["figures"]
    melanoma = melanoma_class(evaluation["classes"])
    at = figures["sensitivity_at_specificity"]
    return {
        "balanced_accuracy": figures["balanced_accuracy"]["value"],
        "mean_auc": figures["mean_auc"]["value"],
        "melanoma_auc": figures["per_class"][melanoma]["auc"]["value"] if melanoma else None,
        "melanoma_sensitivity": at["melanoma"]["value"] if "melanoma" in at else None,
        "malignant_auc": figures["malignant_auc"]["value"] if "malignant_auc" in figures else None,
        "accuracy": figures["accuracy"]["value"],
    }


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean and standard deviation (n - 1) over folds; None if a fold lacks the figure, no deviation of one fold."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return {"mean": None, "sd": None, "folds": len(values)}
    deviation = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return {"mean": float(np.mean(known)), "sd": deviation, "folds": len(values)}


def uncalibrated(fold: FoldPredictions) -> np.ndarray:
    """float64 [n, C]: logits, up to a constant per image, before the temperature."""
    return np.log(np.maximum(fold.probabilities, 1e-12)) * fold.temperature


def calibration_figures(folds: Sequence[FoldPredictions]) -> dict[str, Any]:
    """Expected calibration error before and after temperature scaling, and the reliability table after.

    Each fold gets the temperature that fits the other folds, so no image had a say in its own calibration.
    """
    logits = [uncalibrated(fold) for fold in folds]
    temperatures = []
    for index in range(len(folds)):
        others = [other for other in range(len(folds)) if other != index]
        labels = np.concatenate([folds[other].labels for other in others])
        joined = np.concatenate([logits[other] for other in others])
        temperatures.append(fit_temperature(joined, labels, np.ones(len(labels))))
    labels = np.concatenate([fold.labels for fold in folds])
    before = softmax(np.concatenate(logits), axis=1)
    after = softmax(
        np.concatenate([one / temperature for one, temperature in zip(logits, temperatures, strict=True)]), axis=1
    )
    return {
        "n": len(labels),
        "temperatures": temperatures,
        "ece_before": expected_calibration_error(before, labels),
        "ece_after": expected_calibration_error(after, labels),
        "reliability": [asdict(row) for row in reliability(after, labels)],
    }


def summarise(
    info: DatasetInfo,
    turns: Sequence[Turn],
    evaluations: Sequence[Mapping[str, Any]],
    once: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Figures of all folds: each one's, their spread, and those of all images, each predicted by the network that never
    saw it. Intervals of the latter: bootstrap over lesions. once: evaluations with one view, of which only the spread
    is told."""
    predictions = [read_predictions(turn, info.classes) for turn in turns]
    each = [fold_figures(evaluation) for evaluation in evaluations]
    pooled = metrics.evaluate(
        np.concatenate([fold.labels for fold in predictions]),
        np.concatenate([fold.probabilities for fold in predictions]),
        np.concatenate([fold.groups for fold in predictions]),
        info.classes,
        info.malignant_classes,
        prior=np.mean([fold.prior for fold in predictions], axis=0),
    )
    model = json.loads((turns[0].train / "model/assets/model.json").read_text(encoding="utf-8"))
    train = info.splits["train"]
    return {
        "classes": list(info.classes),
        "malignant_classes": list(info.malignant_classes),
        "images": {name: train.per_class[name].originals for name in info.classes},
        "left_out": dict(info.left_out),
        "network": {
            "parameters": evaluations[0]["train"]["parameters"],
            "multiply_adds": evaluations[0]["train"]["multiply_adds"],
            **model["network"],
        },
        "folds": [
            {
                "fold": turn.fold,
                "n": evaluation["images"],
                **figures,
                "seconds": evaluation["train"]["seconds"],
                "images_per_second": evaluation["train"]["images_per_second"],
                "threads": evaluation["train"]["threads"],
            }
            for turn, evaluation, figures in zip(turns, evaluations, each, strict=True)
        ],
        "spread": {name: spread([figures[name] for figures in each]) for name in SPREAD},
        "one_view": {name: spread([fold_figures(evaluation)[name] for evaluation in once]) for name in SPREAD},
        "pooled": pooled,
        "calibration": calibration_figures(predictions),
    }


def change_line(
    change: Change, changed: Sequence[Mapping[str, Any]], recipe: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """One line of the ablation table: the changed recipe on some folds, beside the recipe itself on the same ones.

    validation: the balanced accuracy that training itself reported. For the leak it is what a notebook would print.
    """
    own, base = ([fold_figures(one) for one in evaluations] for evaluations in (changed, recipe))
    return {
        "name": change.name,
        "says": change.says,
        "options": dict(change.options),
        "dataset": change.dataset,
        **{name: spread([figures[name] for figures in own]) for name in ("balanced_accuracy", "melanoma_auc")},
        "recipe": {name: spread([figures[name] for figures in base]) for name in ("balanced_accuracy", "melanoma_auc")},
        "validation": spread([one["train"]["validation"]["balanced_accuracy"] for one in changed]),
        "seconds": float(np.mean([one["train"]["seconds"] for one in changed])),
    }
