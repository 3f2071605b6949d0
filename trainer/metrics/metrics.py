"""Figures of merit for one split: point values by scikit-learn, intervals by cluster bootstrap.

Throughout: `labels` int [n], `probabilities` float [n, C], `groups` [n] (any hashable value for each image; photographs
of one lesion share one), `weights` float [B, n]: how often each image occurs in each of B resamples.

A figure that does not exist (a class without examples, AUC without negatives) is None with n 0, never NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import sklearn.metrics

from pipelines.domain.decision_rule import decision_values, malignancy_scores
from pipelines.domain.taxonomy import melanoma_class
from trainer.metrics.bootstrap import CONFIDENCE, Estimate, interval, resamples

UNDECIDED = -1


class Task(NamedTuple):
    """Tell some images from others by a score."""

    positive: np.ndarray  # bool [n]
    score: np.ndarray  # float [n]
    # bool [n], the images of which it is known what they are: no others count. None for all images.
    known: np.ndarray | None = None

    def among(self, values: np.ndarray) -> np.ndarray:
        """Return those of [..., n] values that belong to the images that count."""
        return values if self.known is None else values[..., self.known]


def malignancy(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], malignant: Sequence[str]) -> Task:
    """Return the task of telling malignant from other images by the malignancy score.

    Args:
        labels: int [n].
        probabilities: float [n, C].
        classes: Class names in label order.
        malignant: The names of the malignant classes.
    """
    of_class = np.array([name in malignant for name in classes], bool)
    return Task(of_class[labels], malignancy_scores(probabilities, classes, malignant))


def predict(decisions: np.ndarray) -> np.ndarray:
    """Return the class with the largest decision value.

    Args:
        decisions: float [n, C], from `decision_values`.

    Returns:
        int [n]; UNDECIDED where two classes share the first place, which ISIC's scorer counts as wrong.
    """
    top = decisions.max(axis=1, keepdims=True)
    return np.where((decisions == top).sum(axis=1) == 1, decisions.argmax(axis=1), UNDECIDED)


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Count the images of each true class by predicted class.

    Args:
        labels: int [n].
        predicted: int [n], the predicted label or UNDECIDED.
        classes: The number of classes C.

    Returns:
        int [C, C]: rows are true classes, columns predicted ones. UNDECIDED predictions are in no column.
    """
    matrix = np.zeros((classes, classes), np.int64)
    decided = predicted != UNDECIDED
    np.add.at(matrix, (labels[decided], predicted[decided]), 1)
    return matrix


def balanced_accuracy(labels: np.ndarray, decisions: np.ndarray) -> float | None:
    """Return the mean sensitivity over the classes present.

    This is the task metric of ISIC 2018 task 3 and 2019. A tie for the first place is wrong, as in their scorer.

    Args:
        labels: int [n].
        decisions: float [n, C], from `decision_values`.

    Returns:
        0 to 1; None without images.
    """
    if not len(labels):
        return None
    return float(sklearn.metrics.recall_score(labels, predict(decisions), labels=np.unique(labels), average="macro"))


def sensitivity_at_specificity(positive: np.ndarray, score: np.ndarray, specificity: float) -> tuple[float, float]:
    """Return the highest sensitivity over thresholds whose specificity is at least `specificity`, and that threshold.

    The threshold is chosen on these same images, so the figure says what the ranking allows, not what a threshold fixed
    beforehand reaches.

    Args:
        positive: bool [n]; both values must occur.
        score: float [n]; an image is called positive if its score is at least the threshold.
        specificity: The lowest specificity allowed.

    Returns:
        (sensitivity, threshold). The threshold is infinite if no image may be called positive.
    """
    false_rate, true_rate, thresholds = sklearn.metrics.roc_curve(positive, score, drop_intermediate=False)
    # 1e-9: 1 - 0.9 is a little less than 0.1 in floating point.
    last = np.flatnonzero(false_rate <= 1 - specificity + 1e-9)[-1]
    # Along the flat end of the curve the highest threshold with this sensitivity makes the fewest mistakes.
    last = np.flatnonzero(true_rate == true_rate[last])[0]
    return float(true_rate[last]), float(thresholds[last])


@dataclass(frozen=True)
class RankingFigures:
    """Ranking figures of each resample, float64 [B]; NaN where a resample lacks positives or negatives."""

    auc: np.ndarray
    average_precision: np.ndarray
    sensitivity: np.ndarray


def ranking_figures(positive: np.ndarray, score: np.ndarray, weights: np.ndarray, specificity: float) -> RankingFigures:
    """Compute AUC, average precision and sensitivity at fixed specificity for all resamples at once.

    These are the same figures as scikit-learn's `roc_auc_score`, `average_precision_score` and
    `sensitivity_at_specificity` with `sample_weight=weights[b]`, without sorting again for each resample. Equal scores
    are one threshold.

    Args:
        positive: bool [n].
        score: float [n].
        weights: float [B, n].
        specificity: The lowest specificity allowed.
    """
    order = np.argsort(-score, kind="stable")
    # One column per distinct score, from the highest down.
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    ranked, is_positive = weights[:, order].astype(np.float64), positive[order]
    gained = np.add.reduceat(ranked * is_positive, starts, axis=1)
    lost = np.add.reduceat(ranked * ~is_positive, starts, axis=1)
    found, mistaken = gained.cumsum(axis=1), lost.cumsum(axis=1)
    positives, negatives = found[:, -1], mistaken[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        # Mann-Whitney: the share of (positive, negative) pairs in the right order, ties counting half.
        auc = (gained * (negatives[:, None] - mistaken + lost / 2)).sum(axis=1) / (positives * negatives)
        precision = np.where(found > 0, found / (found + mistaken), 0.0)
        average_precision = (gained * precision).sum(axis=1) / positives
        allowed = mistaken <= (1 - specificity + 1e-9) * negatives[:, None]
        sensitivity = np.where(negatives > 0, np.where(allowed, found, 0.0).max(axis=1) / positives, np.nan)
    return RankingFigures(auc, average_precision, sensitivity)


def class_rates(truth: np.ndarray, called: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute sensitivity and specificity of every class in every resample.

    Args:
        truth: bool [n, C], whether an image is of the class.
        called: bool [n, C], whether an image is predicted to be of the class.
        weights: float [B, n].

    Returns:
        (sensitivity, specificity), each float64 [B, C]; NaN where a resample has no images of the class, or no others.
    """
    total = weights.sum(axis=1, dtype=np.float64)
    images = weights @ truth.astype(np.float32)
    hits = weights @ (truth & called).astype(np.float32)
    rejections = weights @ (~truth & ~called).astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        return hits.astype(np.float64) / images, rejections.astype(np.float64) / (total[:, None] - images)


def mean_sensitivity(truth: np.ndarray, called: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute the balanced accuracy of every resample.

    Args:
        truth: bool [n, C], whether an image is of the class.
        called: bool [n, C], whether an image is predicted to be of the class.
        weights: float [B, n].

    Returns:
        float64 [B]: the mean over the classes that have images.
    """
    return _over_classes(class_rates(truth, called, weights)[0], truth)


def _over_classes(sensitivity: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.nanmean(sensitivity[:, truth.any(axis=0)], axis=1)


def evaluate(
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: Sequence | np.ndarray,
    classes: Sequence[str],
    malignant: Sequence[str] = (),
    *,
    prior: np.ndarray | None = None,
    decisions: np.ndarray | None = None,
    malignancy_task: Task | None = None,
    specificity: float = 0.90,
    bootstrap: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute all figures of one split, ready for JSON: plain ints, floats, None, and Estimates as dicts.

    Which class is predicted follows from probabilities and prior (`decision_values`); rankings use the probabilities
    themselves. The malignancy score of an image is the sum of its probabilities of the `malignant` classes.

    An interval is None if `bootstrap` is 0 or if the figure rests on fewer than two groups, which cannot say how
    lesions differ. The percentile interval of a figure at its limit (every melanoma found) has no width and says
    little: look at n.

    Args:
        labels: int [n].
        probabilities: float [n, C].
        groups: [n].
        classes: Class names in label order.
        malignant: The names of the malignant classes.
        prior: [C], or [n, C] for each image: the class frequencies that the probabilities assume. Equal ones if None.
        decisions: [n, C], the decision values, if they do not follow from probabilities and prior.
        malignancy_task: How to tell malignant images, if that does not follow from the classes.
        specificity: The specificity at which sensitivities are computed.
        bootstrap: The number of resamples.
        seed: The seed of the resamples.

    Raises:
        ValueError: The arrays do not fit together, a label is out of range, or a probability is not finite.
    """
    labels, probabilities = np.asarray(labels, np.int64), np.asarray(probabilities, np.float64)
    groups = np.asarray(groups)
    n, count = len(labels), len(classes)
    if probabilities.shape != (n, count) or groups.shape != (n,):
        raise ValueError(f"{n} labels, {count} classes: probabilities {probabilities.shape}, groups {groups.shape}")
    if n and (labels.min() < 0 or labels.max() >= count):
        raise ValueError(f"labels must be 0 to {count - 1}")
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities must be finite")

    if decisions is None:
        decisions = decision_values(probabilities, np.full(count, 1.0 / count) if prior is None else prior)
    predicted = predict(decisions)
    truth, called = np.eye(count, dtype=bool)[labels], predicted[:, None] == np.arange(count)
    has_malignant = any(name in malignant for name in classes)
    detection = malignancy_task or malignancy(labels, probabilities, classes, malignant)
    # Every class against the rest, then malignant against benign.
    tasks = [*(Task(truth[:, c], probabilities[:, c]) for c in range(count)), detection]

    drawn: dict[tuple[str, int], list[np.ndarray]] = {}
    if n:
        for weights in resamples(labels, groups, bootstrap, seed):
            _collect(drawn, weights, truth, called, tasks, specificity)
    values = {key: np.concatenate(parts) for key, parts in drawn.items()}

    def estimate(figure: str, index: int, value: float | None, among: np.ndarray) -> Estimate:
        """Return the Estimate of a figure of a class.

        Args:
            figure: The name under which `_collect` stored its resamples.
            index: The class, or the number of classes for malignant against benign.
            value: The point value; None if the figure does not exist.
            among: bool [n], the images that count as the figure's n, and on whose groups the interval rests.
        """
        if value is None:
            return Estimate(None, None, None, 0)
        several = len(np.unique(groups[among])) > 1
        return Estimate(value, *interval(values.get((figure, index)) if several else None), int(among.sum()))

    per_class = {}
    aucs = {}
    for c, name in enumerate(classes):
        point = _points(truth[:, c], called[:, c], probabilities[:, c])
        if point["auc"] is not None:
            aucs[c] = point["auc"]
        figures = {
            figure: asdict(estimate(figure, c, point[figure], ~truth[:, c] if figure == "specificity" else truth[:, c]))
            for figure in ("sensitivity", "specificity", "auc", "average_precision")
        }
        per_class[name] = {"n": int(truth[:, c].sum()), "groups": len(np.unique(groups[truth[:, c]])), **figures}

    def at_specificity(index: int) -> dict[str, Any]:
        task = tasks[index]
        positive, score = task.among(task.positive), task.among(task.score)
        exists = positive.any() and not positive.all()
        value, threshold = sensitivity_at_specificity(positive, score, specificity) if exists else (None, None)
        threshold = threshold if threshold is not None and np.isfinite(threshold) else None
        return {**asdict(estimate("at_specificity", index, value, task.positive)), "threshold": threshold}

    def auc_of_malignant() -> Estimate:
        positive, score = detection.among(detection.positive), detection.among(detection.score)
        exists = positive.any() and not positive.all()
        value = float(sklearn.metrics.roc_auc_score(positive, score)) if exists else None
        return estimate("auc", count, value, detection.positive)

    everything = np.ones(n, bool)
    melanoma = melanoma_class(classes)
    if values and aucs:
        values["mean_auc", 0] = np.mean([values["auc", c] for c in aucs], axis=0)
    mean_auc = float(np.mean(list(aucs.values()))) if aucs else None
    return {
        "balanced_accuracy": asdict(estimate("balanced_accuracy", 0, balanced_accuracy(labels, decisions), everything)),
        "accuracy": asdict(estimate("accuracy", 0, float((predicted == labels).mean()) if n else None, everything)),
        "mean_auc": asdict(estimate("mean_auc", 0, mean_auc, everything)),
        **({"malignant_auc": asdict(auc_of_malignant())} if has_malignant else {}),
        "sensitivity_at_specificity": {
            "specificity": specificity,
            **({"melanoma": at_specificity(list(classes).index(melanoma))} if melanoma else {}),
            **({"malignant": at_specificity(count)} if has_malignant else {}),
        },
        "per_class": per_class,
        "confusion_matrix": confusion_matrix(labels, predicted, count).tolist(),
        "undecided": int((predicted == UNDECIDED).sum()),
        "n": n,
        "groups": len(np.unique(groups)),
        "bootstrap": {"resamples": bootstrap, "seed": seed, "confidence": CONFIDENCE, "unit": "group"},
    }


def _points(positive: np.ndarray, called: np.ndarray, score: np.ndarray) -> dict[str, float | None]:
    """Compute point values for one class against the rest.

    Args:
        positive: bool [n], whether an image is of the class.
        called: bool [n], whether an image is predicted to be of the class.
        score: float [n].
    """
    has_positive, has_negative = bool(positive.any()), bool((~positive).any())
    return {
        "sensitivity": float(sklearn.metrics.recall_score(positive, called)) if has_positive else None,
        "specificity": float(sklearn.metrics.recall_score(~positive, ~called)) if has_negative else None,
        "auc": float(sklearn.metrics.roc_auc_score(positive, score)) if has_positive and has_negative else None,
        "average_precision": float(sklearn.metrics.average_precision_score(positive, score)) if has_positive else None,
    }


def _collect(
    drawn: dict[tuple[str, int], list[np.ndarray]],
    weights: np.ndarray,
    truth: np.ndarray,
    called: np.ndarray,
    tasks: Sequence[Task],
    specificity: float,
) -> None:
    """Append every figure of a block of resamples to `drawn`, under (figure, class index)."""

    def put(figure: str, index: int, values: np.ndarray) -> None:
        drawn.setdefault((figure, index), []).append(values)

    sensitivity, true_negative_rate = class_rates(truth, called, weights)
    put("balanced_accuracy", 0, _over_classes(sensitivity, truth))
    right = (truth & called).any(axis=1).astype(np.float32)
    put("accuracy", 0, (weights @ right) / weights.sum(axis=1, dtype=np.float64))
    for index, task in enumerate(tasks):
        if index < truth.shape[1]:
            put("sensitivity", index, sensitivity[:, index])
            put("specificity", index, true_negative_rate[:, index])
        ranking = ranking_figures(task.among(task.positive), task.among(task.score), task.among(weights), specificity)
        put("auc", index, ranking.auc)
        put("average_precision", index, ranking.average_precision)
        put("at_specificity", index, ranking.sensitivity)
