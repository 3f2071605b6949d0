"""Figures of folds: which are taken from an evaluation, and how they spread."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.support.killing import ROOT
from tests.support.simulated_predictions import CLASSES, simulate
from trainer.experiment.summary import SPREAD, fold_figures, spread
from trainer.metrics.metrics import evaluate


def evaluation(classes: Sequence[str], malignant: Sequence[str]) -> dict[str, Any]:
    labels, probabilities, groups = simulate(60, 3, 1.0, seed=4)
    return {"classes": classes, "figures": evaluate(labels, probabilities, groups, classes, malignant, bootstrap=0)}


def test_figures_of_a_fold_are_those_of_its_evaluation() -> None:
    whole = evaluation(CLASSES, CLASSES[:2])
    figures = whole["figures"]
    assert fold_figures(whole) == {
        "balanced_accuracy": figures["balanced_accuracy"]["value"],
        "mean_auc": figures["mean_auc"]["value"],
        "melanoma_auc": figures["per_class"]["melanoma"]["auc"]["value"],
        "melanoma_sensitivity": figures["sensitivity_at_specificity"]["melanoma"]["value"],
        "malignant_auc": figures["malignant_auc"]["value"],
        "accuracy": figures["accuracy"]["value"],
    }


def test_figures_of_classes_that_are_not_there_are_none() -> None:
    found = fold_figures(evaluation(("x", "y", "z"), ()))
    assert set(found) == set(SPREAD)
    assert [name for name, value in found.items() if value is None] == [
        "melanoma_auc",
        "melanoma_sensitivity",
        "malignant_auc",
    ]


def test_a_spread_is_mean_and_deviation_of_a_sample() -> None:
    values = [0.7, 0.8, 0.75, 0.65]
    assert spread(values) == {
        "mean": pytest.approx(np.mean(values)),
        "sd": pytest.approx(np.std(values, ddof=1)),
        "folds": 4,
    }
    assert spread([0.5]) == {"mean": 0.5, "sd": None, "folds": 1}


def test_figures_are_made_without_tensorflow() -> None:
    """The command waits for hours of training, and should not hold half a gigabyte meanwhile."""
    code = "import sys, trainer.experiment.summary; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
