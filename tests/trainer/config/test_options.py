"""Options: their limits, and which of them a run must keep."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from pipelines.common.cli import UsageError
from trainer.config.options import TrainOptions, first_difference, number, require_supported, same_everywhere

OPTIONS = TrainOptions(dataset="d", output="o")


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (number(int, 1), "1", 1),
        (number(float, 0), "1e9", 1e9),
        (number(float, 0, 1), "1", 1.0),
        (number(float, 0, 1, below=True), "0", 0.0),
    ],
)
def test_numbers_at_their_limits_are_accepted(parse: Callable[..., Any], text: str, value: float) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "says"),
    [
        (number(int, 1), "0", "0 is out of range: give 1 or more"),
        (number(int, 1), "1.5", "'1.5' is not an integer"),
        (number(float, 0, 1), "1.1", "1.1 is out of range: give from 0 to 1"),
        (number(float, 0, 1, below=True), "1", "1 is out of range: give from 0 to below 1"),
        (number(float, 0), "inf", "inf is out of range: give 0 or more"),
        (number(float, 0), "nan", "nan is out of range: give 0 or more"),
        (number(float, 0), "", "'' is not a number"),
    ],
)
def test_numbers_beyond_their_limits_are_explained(parse: Callable[..., Any], text: str, says: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as error:
        parse(text)
    assert str(error.value) == says


def test_the_first_option_that_forbids_to_continue_is_named() -> None:
    earlier = OPTIONS.as_dict()
    assert first_difference(OPTIONS, earlier) is None
    assert first_difference(dataclasses.replace(OPTIONS, seed=3, epochs=7), earlier) == ("epochs", 40, 7)
    # An option that the earlier run did not know.
    assert first_difference(OPTIONS, {name: value for name, value in earlier.items() if name != "jit"}) == (
        "jit",
        None,
        False,
    )


def test_options_of_one_machine_may_change() -> None:
    moved = dataclasses.replace(OPTIONS, dataset="x", output="y", cache="memory", checkpoint_steps=1, overwrite=True)
    assert first_difference(moved, OPTIONS.as_dict()) is None
    assert same_everywhere(moved) == same_everywhere(OPTIONS)
    assert same_everywhere(dataclasses.replace(OPTIONS, seed=3))["seed"] == 3


def test_only_local_places_and_buckets_are_supported() -> None:
    for place in ("runs/dataset", "/data", "gs://bucket/folder"):
        require_supported("--dataset", place)
    with pytest.raises(
        UsageError, match=r"^--dataset s3://bucket/x: only local directories and gs://BUCKET/FOLDER work"
    ):
        require_supported("--dataset", "s3://bucket/x")
