"""Judge what a model says by labels that may leave several of its classes open.

The ISIC challenges' BKL is pigmented benign or seborrheic keratosis, for a model that has both. Such a label is judged
on the sum of what the model says of the two, as `pipelines.score --submission` adds them up.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipelines.domain.decision_rule import decision_values, malignancy_scores
from trainer.evaluate.judged_classes import JudgedClasses, judged_classes, members_of
from trainer.evaluate.predictions import Predictions
from trainer.metrics.metrics import Task


class JoinedPredictions(NamedTuple):
    """Predictions whose labels tell all judged classes apart."""

    predictions: Predictions
    # For each set of the model's classes that are judged as one, the number of images whose label leaves several open.
    vague_labels: dict[tuple[int, ...], int]


def join_classes(predictions: Predictions) -> JoinedPredictions:
    """Judge as one those classes that the label of an image leaves open.

    Args:
        predictions: Images whose labels may be vague.
    """
    truth, count = predictions.truth, predictions.probabilities.shape[1]
    left_open = [truth.vague[label - count] for label in truth.labels[truth.labels >= count]]
    sets: list[set[int]] = []
    for labels in dict.fromkeys(left_open):
        touched = [one for one in sets if one.intersection(labels)]
        sets = [one for one in sets if one not in touched] + [set(labels).union(*touched)]
    joined = tuple(sorted(tuple(sorted(one)) for one in sets))
    place = {label: index for index, labels in enumerate(members_of(count, joined)) for label in labels}
    likeliest = [*range(count), *(labels[0] for labels in truth.vague)]
    judged = dataclasses.replace(
        truth, labels=np.array([place[likeliest[label]] for label in truth.labels], np.int64), vague=()
    )
    counts = Counter(next(one for one in joined if labels[0] in one) for labels in left_open)
    return JoinedPredictions(dataclasses.replace(predictions, truth=judged, joined=joined), dict(counts))


class Judgement(NamedTuple):
    """What is needed to judge the probabilities that a model gives n images, whose labels are of J judged classes."""

    classes: JudgedClasses  # J of them
    probabilities: np.ndarray  # float [n, J]: the sums over the members of each class
    decisions: np.ndarray  # float [n, J]: the sums of the members' decision values
    malignant: tuple[str, ...]  # the judged classes all of whose members are malignant
    # Those of which only some members are. Whether their images are malignant is not known.
    partly_malignant: tuple[str, ...]
    malignancy: Task


def judge(predictions: Predictions, classes: Sequence[str], malignant: Sequence[str]) -> Judgement:
    """Add up what the model says of classes that are judged as one.

    Args:
        predictions: The images, as `join_classes` returns them.
        classes: The model's class names in label order.
        malignant: The malignant ones among them.
    """
    judged = judged_classes(classes, predictions.joined)

    def summed(values: np.ndarray) -> np.ndarray:
        if not predictions.joined:
            return values
        return np.stack([values[:, list(labels)].sum(axis=1) for labels in judged.members], axis=1)

    shares = np.array([np.mean([classes[label] in malignant for label in labels]) for labels in judged.members])
    share = shares[predictions.truth.labels]
    return Judgement(
        judged,
        summed(predictions.probabilities),
        summed(decision_values(predictions.probabilities, predictions.prior)),
        tuple(name for name, one in zip(judged.names, shares, strict=True) if one == 1),
        tuple(name for name, one in zip(judged.names, shares, strict=True) if 0 < one < 1),
        Task(
            share == 1,
            malignancy_scores(predictions.probabilities, classes, malignant),
            None if np.isin(share, (0, 1)).all() else np.isin(share, (0, 1)),
        ),
    )
