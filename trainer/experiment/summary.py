"""Combine the figures of a cross-validation's folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.domain.decision_rule import decision_values, malignancy_scores
from pipelines.domain.taxonomy import melanoma_class
from trainer.data.dataset_info import DatasetInfo
from trainer.evaluate.metadata_tables import ImageFacts
from trainer.evaluate.subgroups import DetectionInputs, subgroups
from trainer.experiment.ablations import Change
from trainer.experiment.fold_runs import FoldRun
from trainer.experiment.oof_predictions import (
    OutOfFoldPredictions,
    calibration_figures,
    flagged_at,
    join,
    read_predictions,
)
from trainer.experiment.paired_differences import differences
from trainer.export.loaded_model import read_model_info
from trainer.export.operating_points import TARGETS
from trainer.metrics import metrics
from trainer.metrics.thresholds import SUBGROUP_TARGET, threshold_figures

BOOTSTRAP = 1000
# Figures of one fold whose mean and standard deviation over the folds are reported.
SPREAD = ("balanced_accuracy", "mean_auc", "melanoma_auc", "melanoma_sensitivity", "malignant_auc", "accuracy")


def fold_figures(evaluation: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the figures named in SPREAD from an evaluation.json; None where one does not exist."""
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
    """Return mean and standard deviation (n - 1) of a figure over folds.

    Both are None if a fold lacks the figure. The deviation is None for a single fold.
    """
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return {"mean": None, "sd": None, "folds": len(values)}
    deviation = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return {"mean": float(np.mean(known)), "sd": deviation, "folds": len(values)}


def malignancy_figures(
    info: DatasetInfo,
    folds: Sequence[OutOfFoldPredictions],
    pooled: OutOfFoldPredictions,
    facts: Mapping[str, ImageFacts],
) -> dict[str, Any]:
    """Compute figures at thresholds of the malignancy score that were chosen for each fold on the others.

    Args:
        info: The dataset.
        folds: The predictions for each fold.
        pooled: `folds` joined.
        facts: Facts about the images, by image id.

    Returns:
        `operating_points`: sensitivity and specificity for each of TARGETS. `subgroups`: figures by age, sex and body
        site, at the thresholds for 90 % sensitivity.
    """
    scores = [malignancy_scores(fold.probabilities, info.classes, info.malignant_classes) for fold in folds]
    of_malignant = [label for label, name in enumerate(info.classes) if name in info.malignant_classes]
    malignant = [np.isin(fold.labels, of_malignant) for fold in folds]
    flagged = {target: flagged_at(target, scores, malignant) for target in TARGETS}
    is_malignant = np.concatenate(malignant)
    drawing: dict[str, int] = {"bootstrap": BOOTSTRAP, "seed": 0}
    points = []
    for target, images in flagged.items():
        if images is not None:
            # Each fold has its own threshold, so the flags (0 or 1) stand in for the scores, and 0.5 for the threshold.
            rates = threshold_figures(is_malignant, images, 0.5, pooled.labels, pooled.groups, **drawing)
            points.append({"target": target, **rates})
    melanoma, at = melanoma_class(info.classes), flagged[SUBGROUP_TARGET]
    detection = DetectionInputs(
        info.classes.index(melanoma) if melanoma else None,
        *(() if at is None else (is_malignant, at, 0.5)),
    )
    predicted = metrics.predict(decision_values(pooled.probabilities, pooled.prior))
    groups = subgroups(
        pooled.source_id, facts, pooled.labels, pooled.probabilities, predicted, pooled.groups, detection, **drawing
    )
    return {"operating_points": points, "subgroups": groups}


def summarise(
    info: DatasetInfo,
    runs: Sequence[FoldRun],
    facts: Mapping[str, ImageFacts],
) -> dict[str, Any]:
    """Compute the figures of all folds: each fold's own, their spread, and those of all images pooled.

    In the pooled figures each image is predicted by the network that never saw it. Their intervals come from a
    bootstrap over lesions.

    Args:
        info: The dataset.
        runs: Finished runs, evaluated on one view of each image too: `one_view` and `calibration` are computed from
            that.
        facts: Facts about the images, by image id.
    """
    evaluations = [run.figures() for run in runs]
    one_view_evaluations = [run.figures_of_one_view() for run in runs]
    folds = [read_predictions(run.evaluation, run.train / "model", info.classes) for run in runs]
    one_view_predictions = [read_predictions(run.one_view, run.train / "model", info.classes) for run in runs]
    each = [fold_figures(evaluation) for evaluation in evaluations]
    together = join(folds)
    pooled = metrics.evaluate(
        together.labels,
        together.probabilities,
        together.groups,
        info.classes,
        info.malignant_classes,
        prior=together.prior,
        bootstrap=BOOTSTRAP,
    )
    model = read_model_info(runs[0].train / "model")
    train = info.splits["train"]
    return {
        "classes": list(info.classes),
        "malignant_classes": list(info.malignant_classes),
        "images": {name: train.per_class[name].originals for name in info.classes},
        "left_out": dict(info.dropped),
        "network": {
            "parameters": evaluations[0]["train"]["parameters"],
            "multiply_adds": evaluations[0]["train"]["multiply_adds"],
            **model.network,
        },
        "folds": [
            {
                "fold": run.fold,
                "n": evaluation["images"],
                **figures,
                "seconds": evaluation["train"]["seconds"],
                "images_per_second": evaluation["train"]["images_per_second"],
                "threads": evaluation["train"]["threads"],
            }
            for run, evaluation, figures in zip(runs, evaluations, each, strict=True)
        ],
        "spread": {name: spread([figures[name] for figures in each]) for name in SPREAD},
        "one_view": {
            name: spread([fold_figures(evaluation)[name] for evaluation in one_view_evaluations]) for name in SPREAD
        },
        "pooled": pooled,
        "calibration": calibration_figures(one_view_predictions),
        **malignancy_figures(info, folds, together, facts),
    }


def change_line(
    info: DatasetInfo, change: Change, changed: Sequence[FoldRun], recipe: Sequence[FoldRun]
) -> dict[str, Any]:
    """Return one line of the ablation table: a changed recipe beside the recipe itself, on the same folds.

    Args:
        info: The dataset.
        change: The change.
        changed: Finished runs of the changed recipe.
        recipe: Finished runs of the recipe on the same folds.

    Returns:
        The line, ready for JSON. `difference`: changed minus recipe, paired (`paired_differences`). `validation`: the
        balanced accuracy that training itself reported. For the leak it is what a notebook would print.
    """
    evaluations = [run.figures() for run in changed]
    own = [fold_figures(evaluation) for evaluation in evaluations]
    base = [fold_figures(run.figures()) for run in recipe]
    predictions, compared = (
        [read_predictions(run.evaluation, run.train / "model", info.classes) for run in runs]
        for runs in (changed, recipe)
    )
    training = [evaluation["train"] for evaluation in evaluations]
    melanoma = melanoma_class(info.classes)
    label = info.classes.index(melanoma) if melanoma else None
    return {
        "name": change.name,
        "says": change.says,
        "options": dict(change.options),
        "dataset": change.dataset,
        **{name: spread([figures[name] for figures in own]) for name in ("balanced_accuracy", "melanoma_auc")},
        "recipe": {name: spread([figures[name] for figures in base]) for name in ("balanced_accuracy", "melanoma_auc")},
        "n": sum(len(one.labels) for one in compared),
        "difference": differences(predictions, compared, label, bootstrap=BOOTSTRAP),
        "validation": spread([one["validation"]["balanced_accuracy"] for one in training]),
        "seconds": float(np.mean([one["seconds"] for one in training])),
    }
