"""Compute all figures of an evaluation, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypedDict

import numpy as np

from pipelines.domain.decision_rule import OperatingPoint
from pipelines.domain.taxonomy import melanoma_class
from trainer.evaluate.judgement import Judgement
from trainer.evaluate.metadata_tables import ImageFacts
from trainer.evaluate.mistakes import worst_mistakes
from trainer.evaluate.predictions import GroundTruth
from trainer.evaluate.subgroups import DetectionInputs, subgroups
from trainer.export import calibration
from trainer.metrics import metrics
from trainer.metrics.thresholds import subgroup_threshold, threshold_figures


class _Drawing(TypedDict):
    """How resamples are drawn."""

    bootstrap: int
    seed: int


def describe(
    truth: GroundTruth,
    judgement: Judgement,
    facts: Mapping[str, ImageFacts],
    points: tuple[OperatingPoint, ...],
    *,
    bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    """Compute the figures of evaluation.json.

    Args:
        truth: The images, with labels of the judged classes.
        judgement: What the model says of these images.
        facts: Metadata by image id.
        points: The model's operating points, if they are for such probabilities.
        bootstrap: The number of resamples; 0 for no intervals.
        seed: The seed of the resamples.
    """
    drawing: _Drawing = {"bootstrap": bootstrap, "seed": seed}
    classes, probabilities, task = judgement.classes.names, judgement.probabilities, judgement.malignancy
    groups = np.asarray(truth.group_id)
    figures = metrics.evaluate(
        truth.labels,
        probabilities,
        groups,
        classes,
        judgement.malignant,
        decisions=judgement.decisions,
        malignancy_task=task,
        **drawing,
    )
    threshold = subgroup_threshold(points, figures) if judgement.malignant else None
    melanoma = melanoma_class(classes)
    predicted = metrics.predict(judgement.decisions)
    return {
        "classes": list(classes),
        "malignant_classes": list(judgement.malignant),
        "partly_malignant_classes": list(judgement.partly_malignant),
        "melanoma": melanoma,
        "images": len(truth.labels),
        "with_lesion_id": sum(map(bool, truth.lesion_id)),
        "figures": figures,
        "calibration": {
            "expected_calibration_error": calibration.expected_calibration_error(probabilities, truth.labels),
            "bins": [asdict(row) for row in calibration.reliability(probabilities, truth.labels)],
        },
        "operating_points": [
            {
                "target": point.target,
                "threshold": point.threshold,
                **threshold_figures(
                    task.among(task.positive),
                    task.among(task.score),
                    point.threshold,
                    task.among(truth.labels),
                    task.among(groups),
                    **drawing,
                ),
            }
            for point in points
        ],
        "subgroup_threshold": threshold,
        "subgroups": subgroups(
            truth.source_id,
            facts,
            truth.labels,
            probabilities,
            predicted,
            truth.group_id,
            DetectionInputs(
                classes.index(melanoma) if melanoma else None,
                *((task.positive, task.score, threshold["value"], task.known) if threshold else ()),
            ),
            **drawing,
        ),
        "mistakes": worst_mistakes(
            truth,
            probabilities,
            judgement.decisions.argmax(axis=1),
            classes,
            judgement.malignant,
            partly_malignant=judgement.partly_malignant,
            score=task.score,
        ),
    }
