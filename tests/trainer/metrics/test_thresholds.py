"""Sensitivity and specificity at thresholds of the malignancy score."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.domain.decision_rule import OperatingPoint
from trainer.metrics.thresholds import subgroup_threshold, threshold_figures


def test_images_at_the_threshold_are_flagged() -> None:
    malignant = np.array([True, True, True, False, False])
    score = np.array([0.9, 0.5, 0.1, 0.5, 0.2])
    figures = threshold_figures(malignant, score, 0.5, malignant.astype(int), list("abcde"), bootstrap=50, seed=0)
    assert figures["sensitivity"]["value"] == pytest.approx(2 / 3)
    assert figures["specificity"]["value"] == pytest.approx(1 / 2)
    assert (figures["sensitivity"]["n"], figures["specificity"]["n"]) == (3, 2)
    assert figures["sensitivity"]["low"] <= 2 / 3 <= figures["sensitivity"]["high"]


def test_without_benign_images_there_is_no_specificity() -> None:
    figures = threshold_figures(np.array([True]), np.array([0.7]), 0.5, np.array([0]), ["a"], bootstrap=9, seed=0)
    assert figures == {
        "sensitivity": {"value": 1.0, "low": None, "high": None, "n": 1},
        "specificity": {"value": None, "low": None, "high": None, "n": 0},
    }


def point(target: float, threshold: float) -> OperatingPoint:
    return OperatingPoint(target, threshold, sensitivity=target, specificity=0.5, malignant=10, benign=10)


def test_subgroups_are_compared_at_the_point_of_the_model_or_else_at_a_specificity() -> None:
    figures = {"sensitivity_at_specificity": {"specificity": 0.9, "malignant": {"threshold": 0.7}}}
    points = [point(0.8, 0.4), point(0.9, 0.3)]
    assert subgroup_threshold(points, figures) == {"value": 0.3, "target": 0.9}
    assert subgroup_threshold(points[:1], figures) == {"value": 0.7, "specificity": 0.9}
    assert subgroup_threshold((), {"sensitivity_at_specificity": {"specificity": 0.9}}) is None
