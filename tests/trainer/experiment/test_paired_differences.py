"""Differences between two recipes on the same images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from pipelines.domain.decision_rule import decision_values
from trainer.experiment.oof_predictions import OutOfFoldPredictions
from trainer.experiment.paired_differences import differences
from trainer.metrics.metrics import balanced_accuracy, evaluate

MELANOMA = 1
PRIOR = np.array([0.6, 0.3, 0.1])


def fold(logits: np.ndarray, labels: np.ndarray, name: str) -> OutOfFoldPredictions:
    """Predictions of images of which pairs show one lesion."""
    n = len(labels)
    return OutOfFoldPredictions(
        # As of archives that count the files of each folder from 1.
        source_id=[f"{index // 3}" for index in range(n)],
        sha256=[f"{name}{index:03}" for index in range(n)],
        groups=[f"{name}{index // 2}" for index in range(n)],
        labels=labels,
        probabilities=softmax(logits + np.log(PRIOR), axis=1),
        temperature=np.ones(n),
        prior=np.tile(PRIOR, (n, 1)),
    )


def two_folds(noise: float) -> tuple[list[OutOfFoldPredictions], list[OutOfFoldPredictions]]:
    """Of two recipes, which see the same images and are wrong about much the same ones."""
    random = np.random.default_rng(3)
    recipes: tuple[list[OutOfFoldPredictions], list[OutOfFoldPredictions]] = ([], [])
    for name, n in (("a", 200), ("b", 120)):
        labels = np.repeat(random.integers(0, 3, n // 2), 2)
        logits = random.normal(0, 1.5, (n, 3))
        logits[np.arange(n), labels] += 1.5
        for recipe in recipes:
            recipe.append(fold(logits + random.normal(0, noise, (n, 3)), labels, name))
    return recipes


def test_they_are_means_over_folds_of_the_figures_themselves() -> None:
    changed, base = two_folds(noise=0.7)
    found = differences(changed, base, MELANOMA, bootstrap=50)

    def balanced(one: OutOfFoldPredictions) -> float:
        accuracy = balanced_accuracy(one.labels, decision_values(one.probabilities, PRIOR))
        assert accuracy is not None
        return accuracy

    def auc(one: OutOfFoldPredictions) -> float:
        return roc_auc_score(one.labels == MELANOMA, one.probabilities[:, MELANOMA])

    for name, figure in (("balanced_accuracy", balanced), ("melanoma_auc", auc)):
        expected = np.mean([figure(own) - figure(other) for own, other in zip(changed, base, strict=True)])
        assert found[name]["value"] == pytest.approx(expected)
        assert found[name]["low"] <= expected <= found[name]["high"]
    assert found["balanced_accuracy"]["n"] == 320
    assert found["melanoma_auc"]["n"] == sum((one.labels == MELANOMA).sum() for one in base)


def test_images_that_both_get_wrong_do_not_widen_the_interval() -> None:
    changed, base = two_folds(noise=0.1)
    difference = differences(changed[:1], base[:1], MELANOMA, bootstrap=400)["balanced_accuracy"]
    one = base[0]
    own = evaluate(one.labels, one.probabilities, one.groups, ("x", "melanoma", "y"), prior=PRIOR, bootstrap=400)
    own = own["balanced_accuracy"]
    assert 0 < difference["high"] - difference["low"] < 0.5 * (own["high"] - own["low"])


def test_images_are_matched_by_content_whatever_their_order() -> None:
    changed, base = two_folds(noise=0.7)
    order = np.random.default_rng(0).permutation(len(changed[0].labels))
    shuffled = OutOfFoldPredictions._make(
        [*([ids[index] for index in order] for ids in changed[0][:3]), *(values[order] for values in changed[0][3:])]
    )
    first, second = (differences([one, changed[1]], base, MELANOMA, bootstrap=50) for one in (changed[0], shuffled))
    assert first == second


def test_a_class_within_lesions_of_another_takes_no_interval_away() -> None:
    changed, base = two_folds(noise=0.7)
    for recipe in (changed, base):
        # A lesion of melanoma, by its first image, in two of three photographs called something else: all of a class.
        keep = recipe[0].labels != 2
        recipe[0] = OutOfFoldPredictions._make(
            [
                *([name for name, kept in zip(ids, keep, strict=True) if kept] for ids in recipe[0][:3]),
                *(values[keep] for values in recipe[0][3:]),
            ]
        )
        recipe[0].labels[[1, 3]] = 2
    found = differences(changed[:1], base[:1], MELANOMA, bootstrap=200)["balanced_accuracy"]
    assert found["low"] <= found["value"] <= found["high"]


def test_without_melanoma_and_without_a_difference() -> None:
    _, base = two_folds(noise=0.7)
    assert differences(base, base, None, bootstrap=50) == {
        "balanced_accuracy": {"value": 0.0, "low": None, "high": None, "n": 320}
    }


def test_different_images_are_not_compared() -> None:
    changed, base = two_folds(noise=0.7)
    with pytest.raises(ValueError, match="different images"):
        differences(changed[::-1], base, MELANOMA, bootstrap=50)
