"""Figures of subgroups of the images, by the patient's age, sex and body site.

A model that does well on average may fail a group. Whether it does shows only in the group's own n and interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from trainer.evaluate.metadata_tables import ImageFacts
from trainer.metrics.bootstrap import FEW, resampled
from trainer.metrics.metrics import mean_sensitivity, ranking_figures
from trainer.metrics.thresholds import threshold_figures

UNKNOWN = "unknown"
# (upper end in years, not included; name). The archive gives ages in steps of five.
_AGE_BANDS = ((30, "under 30"), (45, "30 to 44"), (60, "45 to 59"), (75, "60 to 74"), (float("inf"), "75 and over"))


def age_band(age: float | None) -> str:
    """Return the band of an age in years; UNKNOWN for None."""
    return UNKNOWN if age is None else next(name for end, name in _AGE_BANDS if age < end)


class _Attribute(NamedTuple):
    name: str
    group_of: Callable[[ImageFacts], str]
    order: tuple[str, ...] = ()


_ATTRIBUTES = (
    _Attribute("age", lambda facts: age_band(facts.age), tuple(name for _, name in _AGE_BANDS)),
    _Attribute("sex", lambda facts: facts.sex or UNKNOWN),
    _Attribute("body site", lambda facts: facts.site or UNKNOWN),
)


class DetectionInputs(NamedTuple):
    """What the figures on detecting melanoma and malignancy need beyond labels and predictions."""

    melanoma: int | None  # index of its class; None if there is no such class
    # The following are None if no class is malignant.
    malignant: np.ndarray | None = None  # bool [n], whether an image is malignant
    score: np.ndarray | None = None  # float [n], malignancy scores
    threshold: float | None = None  # an image is flagged if its score is at least this
    known: np.ndarray | None = None  # bool [n], the images of which it is known whether they are malignant; None: all


def subgroups(
    source_id: Sequence[str],
    facts: Mapping[str, ImageFacts],
    labels: np.ndarray,
    probabilities: np.ndarray,
    predicted: np.ndarray,
    groups: Sequence[str],
    detection: DetectionInputs,
    *,
    bootstrap: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Compute figures of the images by age, sex and body site, ready for JSON.

    Args:
        source_id: The ids of n images.
        facts: By image id.
        labels: int [n].
        probabilities: float [n, C].
        predicted: int [n], the predicted label or UNDECIDED.
        groups: [n]; images that share one are of one lesion.
        detection: What the figures beyond balanced accuracy need.
        bootstrap: The number of resamples; 0 for no intervals.
        seed: The seed of the resamples.

    Returns:
        An entry for each attribute (`by`) about which the metadata says something, with its `groups`. Images without
        metadata form the last group, UNKNOWN. `classes`: how many occur in the group; balanced accuracy is the mean
        over these. `few`: the group has fewer than FEW lesions and gets no figures. The figures are Estimates as dicts,
        with intervals from a bootstrap over the group's own lesions.
    """
    drawing = {"bootstrap": bootstrap, "seed": seed}
    known = [facts.get(name, ImageFacts()) for name in source_id]
    lesions = np.asarray(groups)
    found = []
    for attribute in _ATTRIBUTES:
        of = np.array([attribute.group_of(one) for one in known])
        names = _ordered(of, attribute.order)
        if names == [UNKNOWN]:
            continue
        rows = [
            {
                "group": name,
                **_figures(of == name, labels, probabilities, predicted, lesions, detection, **drawing),
            }
            for name in names
        ]
        found.append({"by": attribute.name, "groups": rows})
    return found


def _ordered(values: Iterable[str], order: tuple[str, ...]) -> list[str]:
    """Return the distinct values: first as in `order`, then by name, UNKNOWN last."""
    rank = {name: number for number, name in enumerate(order)}
    return sorted(set(values), key=lambda name: (name == UNKNOWN, rank.get(name, len(order)), name))


def _figures(
    among: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    predicted: np.ndarray,
    groups: np.ndarray,
    detection: DetectionInputs,
    *,
    bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    """Compute the figures of one subgroup; `among`, bool [n], says which images belong to it."""
    labels, probabilities, groups = labels[among], probabilities[among].astype(np.float64), groups[among]
    lesions = len(np.unique(groups))
    sizes = {"n": len(labels), "lesions": lesions, "classes": len(np.unique(labels)), "few": lesions < FEW}
    if sizes["few"]:
        return sizes
    classes = np.arange(probabilities.shape[1])
    truth, called = labels[:, None] == classes, predicted[among][:, None] == classes

    def balanced(weights: np.ndarray) -> np.ndarray:
        return mean_sensitivity(truth, called, weights)

    def estimate(figure: Callable[[np.ndarray], np.ndarray], rests_on: np.ndarray) -> dict[str, Any]:
        return asdict(resampled(figure, rests_on, labels, groups, bootstrap=bootstrap, seed=seed))

    melanoma_auc: dict[str, Any] = {}
    if detection.melanoma is not None and 0 < truth[:, detection.melanoma].sum() < len(labels):
        positive, probability = truth[:, detection.melanoma], probabilities[:, detection.melanoma]
        melanoma_auc["melanoma_auc"] = estimate(
            lambda weights: ranking_figures(positive, probability, weights, 0.9).auc, positive
        )
    at_threshold: dict[str, Any] = {}
    if detection.malignant is not None and detection.score is not None and detection.threshold is not None:
        told = among if detection.known is None else among & detection.known
        at_threshold = threshold_figures(
            detection.malignant[told],
            detection.score[told],
            detection.threshold,
            labels[told[among]],
            groups[told[among]],
            bootstrap=bootstrap,
            seed=seed,
        )
    everything = np.ones(len(labels), bool)
    return {**sizes, "balanced_accuracy": estimate(balanced, everything), **melanoma_auc, **at_threshold}
