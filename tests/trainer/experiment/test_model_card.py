"""Figures of an experiment as text: spreads, differences and the table of changes."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.experiment.model_card import format_changes, format_difference, format_spread


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"mean": 0.7021, "sd": 0.0129}, "0.702 ± 0.013"),
        ({"mean": 0.7021, "sd": None}, "0.702"),
        ({"mean": None, "sd": None}, "-"),
    ],
)
def test_a_spread_is_its_mean_and_deviation(values: dict[str, float | None], text: str) -> None:
    assert format_spread(values) == text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        ({"value": -0.021, "low": -0.052, "high": 0.011}, "-0.021 (-0.052 to +0.011)"),
        ({"value": 0.3, "low": None, "high": None}, "+0.300"),
        ({"value": -0.0001, "low": None, "high": None}, "+0.000"),
        ({"value": None, "low": None, "high": None}, "-"),
    ],
)
def test_a_difference_always_has_its_sign(estimate: dict[str, float | None], text: str) -> None:
    assert format_difference(estimate) == text


def line(says: str, dataset: str = "plain") -> dict[str, Any]:
    some = {"mean": 0.7, "sd": 0.01}
    return {
        "says": says,
        "dataset": dataset,
        "recipe": {"balanced_accuracy": {"mean": 0.75, "sd": 0.02}},
        "balanced_accuracy": some,
        "difference": {"balanced_accuracy": {"value": -0.05, "low": -0.09, "high": -0.01}},
        "validation": {"mean": 0.95},
    }


def rows(*lines: dict[str, Any]) -> list[list[str]]:
    table = format_changes({"changes": {"lines": lines}}).splitlines()
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table]


def test_the_recipe_comes_first_and_each_change_with_its_difference() -> None:
    head, _, recipe, change = rows(line("no mixup"))
    assert head == ["", "balanced accuracy", "difference"]
    assert recipe == ["**the recipe**", "0.750 ± 0.020", ""]
    assert change == ["no mixup", "0.700 ± 0.010", "-0.050 (-0.090 to -0.010)"]


def test_only_the_leak_says_what_its_validation_promised() -> None:
    head, _, recipe, plain, leak = rows(line("a|b"), line("the leak", "leaky"))
    assert head[-1] == '"validation" with the leak'
    assert (recipe[-1], plain[-1], leak[-1]) == ("", "", "0.950")
    assert plain[0] == "a\\|b"
