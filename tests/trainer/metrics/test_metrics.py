"""Figures against values worked out by hand, scikit-learn and the ISIC scorer."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from isic_challenge_scoring.classification import ClassificationMetric, ClassificationScore

from tests.support.simulated_predictions import simulate
from trainer.metrics import metrics
from trainer.metrics.bootstrap import resamples

CLASSES = ("basal cell carcinoma", "melanoma", "nevus")
MALIGNANT = CLASSES[:2]


def test_figures_are_those_counted_by_hand() -> None:
    labels = np.array([0, 0, 1, 1, 1, 1, 2, 2])
    probabilities = np.array(
        [
            [0.8, 0.1, 0.1],  # right
            [0.2, 0.1, 0.7],  # taken for nevus
            [0.1, 0.8, 0.1],  # right
            [0.2, 0.6, 0.2],  # right
            [0.1, 0.5, 0.4],  # right
            [0.0, 0.3, 0.7],  # taken for nevus
            [0.1, 0.2, 0.7],  # right
            [0.1, 0.5, 0.4],  # taken for melanoma
        ]
    )
    figures = metrics.evaluate(labels, probabilities, np.arange(8), CLASSES, MALIGNANT, bootstrap=50)
    assert figures["balanced_accuracy"]["value"] == pytest.approx((1 / 2 + 3 / 4 + 1 / 2) / 3)
    assert figures["accuracy"]["value"] == pytest.approx(5 / 8)
    assert figures["confusion_matrix"] == [[1, 0, 1], [0, 3, 1], [0, 1, 1]]
    melanoma = figures["per_class"]["melanoma"]
    assert melanoma["n"] == 4
    assert melanoma["sensitivity"]["n"] == 4
    assert melanoma["specificity"]["n"] == 4
    assert melanoma["sensitivity"]["value"] == pytest.approx(3 / 4)
    assert melanoma["specificity"]["value"] == pytest.approx(3 / 4)
    # Of 16 pairs (melanoma, other) the right order: 4 + 4 + 3.5 (one tie) + 3.
    assert melanoma["auc"]["value"] == pytest.approx(14.5 / 16)
    # With 4 others, at least 90 % specificity means none may be above the threshold: 0.6 finds two of four.
    at = figures["sensitivity_at_specificity"]
    assert (at["melanoma"]["value"], at["melanoma"]["threshold"], at["melanoma"]["n"]) == (0.5, 0.6, 4)
    # Malignant scores: 0.9 0.3 0.9 0.8 0.6 0.3 against benign 0.3 0.6.
    assert (at["malignant"]["value"], at["malignant"]["n"]) == (0.5, 6)
    assert at["malignant"]["threshold"] == pytest.approx(0.8)


def test_equal_probabilities_are_undecided_and_wrong_as_in_the_isic_scorer() -> None:
    probabilities = np.array([[0.4, 0.4, 0.2], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    labels = np.array([0, 1, 2])
    figures = metrics.evaluate(labels, probabilities, labels, CLASSES, bootstrap=0)
    assert figures["undecided"] == 1
    assert figures["confusion_matrix"] == [[0, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert figures["balanced_accuracy"] == {"value": pytest.approx(2 / 3), "low": None, "high": None, "n": 3}


def test_agrees_with_scikit_learn() -> None:
    labels, probabilities, groups = simulate(300, 3, 1.0, seed=1)
    figures = metrics.evaluate(labels, probabilities, groups, CLASSES, MALIGNANT, bootstrap=0)
    predicted = probabilities.argmax(axis=1)
    assert figures["balanced_accuracy"]["value"] == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(labels, predicted)
    )
    assert figures["confusion_matrix"] == sklearn.metrics.confusion_matrix(labels, predicted).tolist()
    recalls = sklearn.metrics.recall_score(labels, predicted, average=None)
    for c, name in enumerate(CLASSES):
        row = figures["per_class"][name]
        assert row["sensitivity"]["value"] == pytest.approx(recalls[c])
        assert row["auc"]["value"] == pytest.approx(sklearn.metrics.roc_auc_score(labels == c, probabilities[:, c]))


@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_agrees_with_the_isic_challenge_scorer() -> None:
    """Balanced accuracy, AUC and average precision of the package that scored ISIC 2018 and 2019."""
    labels, probabilities, groups = simulate(200, 3, 1.0, seed=2)
    images = pd.Index([f"ISIC_{i:07d}" for i in range(200)])
    weights = pd.DataFrame({"score_weight": 1.0, "validation_weight": 1.0}, index=images)
    score = ClassificationScore(
        pd.DataFrame(np.eye(3)[labels], index=images, columns=CLASSES),
        pd.DataFrame(probabilities, index=images, columns=CLASSES),
        weights,
        ClassificationMetric.BALANCED_ACCURACY,
    )
    figures = metrics.evaluate(labels, probabilities, groups, CLASSES, bootstrap=0)
    assert figures["balanced_accuracy"]["value"] == pytest.approx(score.overall)
    for name in CLASSES:
        assert figures["per_class"][name]["auc"]["value"] == pytest.approx(score.per_category.at[name, "auc"])
        assert figures["per_class"][name]["average_precision"]["value"] == pytest.approx(
            score.per_category.at[name, "ap"]
        )


@pytest.mark.parametrize("decimals", [1, 8])
def test_resampled_figures_are_scikit_learns_with_weights(decimals: int) -> None:
    """Rounded scores have many ties."""
    labels, probabilities, groups = simulate(150, 2, 0.7, seed=3, photographs=2)
    positive, score = labels == 1, probabilities[:, 1].round(decimals)
    (weights,) = resamples(labels, groups, 20, seed=0)
    figures = metrics.ranking_figures(positive, score, weights, 0.9)
    for b, w in enumerate(weights):
        assert figures.auc[b] == pytest.approx(sklearn.metrics.roc_auc_score(positive, score, sample_weight=w))
        assert figures.average_precision[b] == pytest.approx(
            sklearn.metrics.average_precision_score(positive, score, sample_weight=w)
        )
        false_rate, true_rate, _ = sklearn.metrics.roc_curve(positive, score, sample_weight=w, drop_intermediate=False)
        assert figures.sensitivity[b] == pytest.approx(true_rate[false_rate <= 0.1 + 1e-9].max())


def test_classes_without_examples_are_null_and_json_has_no_nan() -> None:
    labels = np.array([2, 2, 1, 2, 1])
    probabilities = np.array([[0.1, 0.2, 0.7], [0.2, 0.5, 0.3], [0.0, 0.9, 0.1], [0.3, 0.3, 0.4], [0.6, 0.3, 0.1]])
    figures = metrics.evaluate(labels, probabilities, np.array(list("aabcd")), CLASSES, MALIGNANT, bootstrap=100)
    json.dumps(figures, allow_nan=False)
    nothing = {"value": None, "low": None, "high": None, "n": 0}
    absent = figures["per_class"]["basal cell carcinoma"]
    assert absent["n"] == 0
    assert absent["sensitivity"] == absent["auc"] == absent["average_precision"] == nothing
    assert absent["specificity"]["value"] == pytest.approx(4 / 5)
    # The mean is over the two classes there are: 2 of 3 nevi, 1 of 2 melanomas.
    assert figures["balanced_accuracy"]["value"] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_one_class_only_and_one_lesion_only() -> None:
    probabilities = np.array([[0.1, 0.7, 0.2], [0.1, 0.2, 0.7]])
    figures = metrics.evaluate(np.array([1, 1]), probabilities, np.array(["a", "a"]), CLASSES, MALIGNANT, bootstrap=20)
    json.dumps(figures, allow_nan=False)
    assert figures["balanced_accuracy"] == {"value": 0.5, "low": None, "high": None, "n": 2}
    assert figures["per_class"]["melanoma"]["auc"]["value"] is None
    assert figures["sensitivity_at_specificity"]["melanoma"]["value"] is None


def test_without_images_a_figure_has_no_value() -> None:
    figures = metrics.evaluate(np.zeros(0, int), np.zeros((0, 3)), np.zeros(0, str), CLASSES, MALIGNANT)
    json.dumps(figures, allow_nan=False)
    assert figures["balanced_accuracy"] == {"value": None, "low": None, "high": None, "n": 0}


@pytest.mark.parametrize(
    ("labels", "probabilities", "says"),
    [
        ([0, 3], np.full((2, 3), 1 / 3), "labels must be 0 to 2"),
        ([0, 1], np.full((2, 2), 0.5), r"probabilities \(2, 2\)"),
        ([0, 1], np.full((2, 3), np.nan), "finite"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(labels: list[int], probabilities: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        metrics.evaluate(np.array(labels), probabilities, np.arange(2), CLASSES)
