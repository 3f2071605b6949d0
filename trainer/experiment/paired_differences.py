"""Compare two recipes on the same images.

Networks find the same images hard, so the difference between two networks varies less from lesion to lesion than the
figure of either. Hence the difference is resampled, over lesions. Its interval does not cover how much networks of one
recipe differ among themselves, which another seed shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pipelines.domain.decision_rule import decision_values
from trainer.experiment.oof_predictions import OutOfFoldPredictions
from trainer.metrics import metrics
from trainer.metrics.bootstrap import resampled


def differences(
    changed: Sequence[OutOfFoldPredictions],
    base: Sequence[OutOfFoldPredictions],
    melanoma: int | None,
    *,
    bootstrap: int,
) -> dict[str, Any]:
    """Compute balanced accuracy and melanoma AUC of `changed` minus those of `base`.

    Lesions are drawn separately for each fold and class.

    Args:
        changed: Predictions for each fold.
        base: Predictions for the same folds, each for the same images in any order.
        melanoma: The label of melanoma; None leaves its AUC out.
        bootstrap: The number of resamples; 0 for no intervals.

    Returns:
        Means over folds, as Estimates in dicts.

    Raises:
        ValueError: The folds hold different images.
    """
    pairs = [_aligned(*pair) for pair in zip(changed, base, strict=True)]
    classes = base[0].probabilities.shape[1]
    fold = np.concatenate([np.full(len(one.labels), index) for index, (_, one) in enumerate(pairs)])
    labels = np.concatenate([one.labels for _, one in pairs])
    groups = np.concatenate([np.asarray(one.groups) for _, one in pairs])
    everything = np.ones(len(labels), bool)

    def mean_over_folds(
        figure: Callable[[OutOfFoldPredictions, np.ndarray], np.ndarray], rests_on: np.ndarray
    ) -> dict[str, Any]:
        def difference(weights: np.ndarray) -> np.ndarray:
            of_folds = [
                figure(own, weights[:, fold == index]) - figure(other, weights[:, fold == index])
                for index, (own, other) in enumerate(pairs)
            ]
            return np.mean(of_folds, axis=0)

        strata = fold * classes + labels
        return asdict(resampled(difference, rests_on, strata, groups, bootstrap=bootstrap, seed=0))

    found = {"balanced_accuracy": mean_over_folds(_balanced_accuracy, everything)}
    if melanoma is not None:
        found["melanoma_auc"] = mean_over_folds(lambda one, weights: _auc(one, melanoma, weights), labels == melanoma)
    return found


def _aligned(
    changed: OutOfFoldPredictions, base: OutOfFoldPredictions
) -> tuple[OutOfFoldPredictions, OutOfFoldPredictions]:
    """Sort both by the content of their images; raise ValueError if these differ."""
    pair = []
    for one in (changed, base):
        order = np.argsort(one.sha256)
        pair.append(
            OutOfFoldPredictions(
                [one.source_id[index] for index in order],
                [one.sha256[index] for index in order],
                [one.groups[index] for index in order],
                *(values[order] for values in one[3:]),
            )
        )
    if pair[0].sha256 != pair[1].sha256:
        raise ValueError("predictions of different images")
    return pair[0], pair[1]


def _balanced_accuracy(one: OutOfFoldPredictions, weights: np.ndarray) -> np.ndarray:
    """Return `metrics.balanced_accuracy` of each resample, float64 [B].

    Args:
        one: The predictions.
        weights: float32 [B, n].
    """
    count = one.probabilities.shape[1]
    predicted = metrics.predict(decision_values(one.probabilities, one.prior))
    truth, called = (values[:, np.newaxis] == np.arange(count) for values in (one.labels, predicted))
    return metrics.mean_sensitivity(truth, called, weights)


def _auc(one: OutOfFoldPredictions, label: int, weights: np.ndarray) -> np.ndarray:
    return metrics.ranking_figures(one.labels == label, one.probabilities[:, label], weights, 0.9).auc
