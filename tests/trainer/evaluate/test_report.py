"""What the page, the Markdown and the terminal share: figures as text, and the sentences about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer.evaluate.report import (
    caution,
    few_classes,
    format_estimate,
    headline_figures,
    interval_note,
    origin,
    part,
    subgroup_columns,
    threshold_note,
    without_class,
)


def test_an_estimate_is_its_value_with_its_interval_in_brackets() -> None:
    assert format_estimate({"value": 0.8124, "low": 0.7, "high": 0.906}) == "0.812 (0.70-0.91)"
    assert format_estimate({"value": 0.8124, "low": None, "high": None}) == "0.812"
    assert format_estimate({"value": None, "low": None, "high": None}) == "-"


def test_headline_figures_are_those_that_exist(evaluated: tuple[Path, dict[str, Any]]) -> None:
    _, result = evaluated
    names = [figure.name for figure in headline_figures(result)]
    assert names[:3] == [
        "Balanced accuracy",
        "Melanoma sensitivity at 90 % specificity",
        "Malignant sensitivity at 90 % specificity",
    ]
    assert headline_figures(result)[0].n == "90 images"
    without = {**result, "melanoma": None, "figures": {**result["figures"]}}
    del without["figures"]["malignant_auc"]
    without["figures"]["sensitivity_at_specificity"] = {"specificity": 0.9}
    assert [figure.name for figure in headline_figures(without)] == [
        "Balanced accuracy",
        "Mean AUC of the classes",
        "Accuracy",
    ]


def test_labels_without_a_class_are_named_up_to_five() -> None:
    assert without_class({"moon": 2, "": 1}) == "3 images ('moon' 2, empty 1)"
    many = {f"label {number}": 1000 for number in range(7)}
    assert without_class(many).endswith("'label 4' 1,000, 2 more)")


def test_classes_of_few_lesions_are_named_but_not_those_without_any() -> None:
    figures = {"per_class": {name: {"groups": count} for name, count in (("a", 0), ("b", 1), ("c", 9), ("d", 10))}}
    assert few_classes(figures) == ["b", "c"]


def test_the_note_on_intervals_names_samples_and_seed(evaluated: tuple[Path, dict[str, Any]]) -> None:
    _, result = evaluated
    assert "95 % percentiles of 30 bootstrap samples" in interval_note(result)
    assert interval_note({"figures": {"bootstrap": {"resamples": 0}}}) == "Without intervals (--bootstrap 0)."


def test_the_note_on_thresholds_says_where_the_threshold_comes_from() -> None:
    assert threshold_note({"subgroup_threshold": None}) == ""
    own = threshold_note({"subgroup_threshold": {"value": 0.25, "target": 0.9}})
    assert "the model's operating point for 90 % sensitivity: a malignancy score of 0.2500 or more" in own
    measured = threshold_note({"subgroup_threshold": {"value": 0.5, "specificity": 0.9}})
    assert "these images together have 90 % specificity: a malignancy score of 0.5000 or more" in measured


def test_columns_of_subgroups_are_the_figures_that_some_group_has(evaluated: tuple[Path, dict[str, Any]]) -> None:
    _, result = evaluated
    assert [key for key, _ in subgroup_columns(result)] == [
        "balanced_accuracy",
        "melanoma_auc",
        "sensitivity",
        "specificity",
    ]
    assert subgroup_columns({"subgroups": []}) == []


def test_the_part_of_the_dataset_is_a_split_or_a_fold() -> None:
    assert part({"fold": 2, "split": "train"}) == "fold 2"
    assert part({"fold": None, "split": "test"}) == "test split"
    assert part({"fold": None, "split": None}) == ""


MODEL = {"fingerprint": "m", "fold": -1}


@pytest.mark.parametrize(
    ("changed", "heading"),
    [
        ({}, None),
        ({"model": None}, None),
        ({"predictions": {"models": ["another"]}}, None),
        (
            {"predictions": {"models": ["a"]}, "model": None, "seen_images": 1},
            "The model was trained on 1 of these 8 images",
        ),
        ({"trained_on_this_dataset": False}, "The model was trained on another dataset"),
        ({"trained_on_this_dataset": False, "seen_images": 0}, None),
        ({"trained_on_this_dataset": False, "seen_images": 2}, "The model was trained on 2 of these 8 images"),
        ({"fold": 1}, "The model was trained on this fold"),
        ({"split": "train"}, "The model was trained on these images"),
        (
            {"split": "train", "model": {**MODEL, "fold": 3}},
            "The model was trained on these images, all but those of fold 3",
        ),
        ({"split": "validation"}, "The model was adjusted to these images"),
        ({"fold": 3, "model": {**MODEL, "fold": 3}}, "The model was adjusted to these images"),
    ],
)
def test_figures_that_are_too_good_come_with_a_caution(changed: dict[str, Any], heading: str | None) -> None:
    images = {"split": "test", "fold": None, "images": 8, "seen_images": None}
    result = {"model": MODEL, "predictions": None, "trained_on_this_dataset": True, **images}
    found = caution({**result, **changed})
    assert (found and found[0]) == heading


def test_the_origin_names_predictions_model_and_tables(
    evaluated: tuple[Path, dict[str, Any]], stored: Path, metadata: Path
) -> None:
    _, result = evaluated
    facts = origin(result)
    assert ("predictions", str(stored)) in facts
    assert ("made by model", "m" * 64) in facts
    assert ("views", "each image as it is") in facts
    assert ("lesion ids", "90 of 90 images") in facts
    assert ("metadata", str(metadata)) in facts
    assert ("in metadata", "89 of 90 images") in facts
