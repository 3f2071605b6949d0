"""Figures by age, sex and body site: who is in which group, and what each group's own figures are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from tests.support.simulated_predictions import simulate
from trainer.evaluate.metadata_tables import ImageFacts
from trainer.evaluate.subgroups import DetectionInputs, age_band, subgroups


@pytest.mark.parametrize(
    ("age", "band"),
    [(None, "unknown"), (0, "under 30"), (29.5, "under 30"), (30, "30 to 44"), (74, "60 to 74"), (75, "75 and over")],
)
def test_age_bands_begin_at_their_lower_end(age: float | None, band: str) -> None:
    assert age_band(age) == band


Images = tuple[list[str], dict[str, ImageFacts], np.ndarray, np.ndarray, Any]


@pytest.fixture(scope="module")
def images() -> Images:
    """Ids, facts (none of the last ten images, three of one sex), labels, probabilities, lesions."""
    labels, probabilities, groups = simulate(80, 3, 0.8, seed=2)
    ids = [f"image {number}" for number in range(80)]
    facts = {
        name: ImageFacts(age=80.0 if number % 2 else 20.0, sex="other" if number < 3 else "female")
        for number, name in enumerate(ids[:70])
    }
    return ids, facts, labels, probabilities, groups


def figures(images: Images, detection: DetectionInputs, bootstrap: int = 20) -> dict[str, list[dict[str, Any]]]:
    ids, facts, labels, probabilities, groups = images
    predicted = probabilities.argmax(axis=1)
    found = subgroups(ids, facts, labels, probabilities, predicted, groups, detection, bootstrap=bootstrap, seed=0)
    return {attribute["by"]: attribute["groups"] for attribute in found}


def test_attributes_that_the_metadata_knows_divide_all_images(images: Images) -> None:
    found = figures(images, DetectionInputs(melanoma=None))
    # No image has a site.
    assert list(found) == ["age", "sex"]
    assert [group["group"] for group in found["age"]] == ["under 30", "75 and over", "unknown"]
    assert [group["group"] for group in found["sex"]] == ["female", "other", "unknown"]
    for groups in found.values():
        assert sum(group["n"] for group in groups) == 80


def test_a_group_of_few_lesions_has_no_figures(images: Images) -> None:
    few = figures(images, DetectionInputs(melanoma=None))["sex"][1]
    assert few == {"group": "other", "n": 3, "lesions": 3, "classes": few["classes"], "few": True}


def test_each_group_has_figures_of_its_own_images(images: Images) -> None:
    ids, facts, labels, probabilities, _ = images
    malignant = labels == 1
    detection = DetectionInputs(melanoma=1, malignant=malignant, score=probabilities[:, 1], threshold=0.4)
    young = figures(images, detection)["age"][0]
    among = np.array([name in facts and facts[name].age == 20.0 for name in ids])
    expected = {
        "balanced_accuracy": balanced_accuracy_score(labels[among], probabilities[among].argmax(axis=1)),
        "melanoma_auc": roc_auc_score(malignant[among], probabilities[among, 1]),
        "sensitivity": (probabilities[among & malignant, 1] >= 0.4).mean(),
        "specificity": (probabilities[among & ~malignant, 1] < 0.4).mean(),
    }
    assert {name: young[name]["value"] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert young["n"] == among.sum()
    assert young["balanced_accuracy"]["low"] < young["balanced_accuracy"]["value"] < young["balanced_accuracy"]["high"]


def test_without_metadata_there_are_no_subgroups(images: Images) -> None:
    ids, _, labels, probabilities, groups = images
    assert figures((ids, {}, labels, probabilities, groups), DetectionInputs(melanoma=None)) == {}
