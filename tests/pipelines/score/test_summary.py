"""The summary of a run: how far the classes have moved."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipelines.score.summary import drift

TRAIN = {"a": 0.5, "b": 0.3, "c": 0.2}


def test_nothing_scored_has_no_figure():
    found = drift(TRAIN, {"a": 0}, 0.25)
    assert (found.figure, found.warning) == (None, False)
    assert found.scored == {"a": 0, "b": 0, "c": 0}


def test_equal_shares_have_not_moved():
    counts = {name: round(share * 100_000) for name, share in TRAIN.items()}
    found = drift(TRAIN, counts, 0.25)
    assert found.figure == pytest.approx(0, abs=1e-9)
    assert found.scored == pytest.approx(TRAIN)
    assert (found.train, found.limit, found.warning) == (TRAIN, 0.25, False)


def test_a_value_computed_by_hand():
    """100 and 300 images: with half an image each 100.5 and 300.5 of 401, against halves."""
    found = drift({"a": 0.5, "b": 0.5}, {"a": 100, "b": 300}, 0.25)
    low, high = 100.5 / 401, 300.5 / 401
    expected = (low - 0.5) * math.log(low / 0.5) + (high - 0.5) * math.log(high / 0.5)
    assert found.figure == pytest.approx(expected)
    assert found.figure == pytest.approx(0.273, abs=0.001)
    assert found.warning


def test_names_do_not_matter_and_neither_does_the_direction():
    moved = {"a": 20_000, "b": 30_000, "c": 50_000}
    forth = drift(TRAIN, moved, 0.25).figure
    renamed = drift({"x": 0.2, "y": 0.5, "z": 0.3}, {"z": 30_000, "x": 50_000, "y": 20_000}, 0.25).figure
    back = drift({name: count / 100_000 for name, count in moved.items()}, {"a": 50_000, "b": 30_000, "c": 20_000}, 1)
    assert forth == pytest.approx(renamed)
    assert forth == pytest.approx(back.figure, rel=1e-3)
    assert forth > 0


def test_further_is_more():
    figures = [drift({"a": 0.5, "b": 0.5}, {"a": 500 + n, "b": 500 - n}, 0.25).figure for n in (0, 50, 100, 200, 500)]
    assert figures == sorted(figures)
    assert figures[0] < figures[1]
    assert math.isfinite(figures[-1])


def test_a_class_without_training_images_is_finite_and_counts():
    train = {"a": 0.9, "b": 0.1, "new": 0.0}
    without = drift(train, {"a": 900, "b": 100}, 0.25)
    some = drift(train, {"a": 900, "b": 100, "new": 1}, 0.25)
    many = drift(train, {"a": 600, "b": 100, "new": 300}, 0.25)
    assert without.figure == pytest.approx(0, abs=1e-3)
    assert without.figure < some.figure < 0.25 < many.figure
    assert (some.warning, many.warning) == (False, True)


def test_few_images_of_the_same_classes_do_not_warn():
    """Of 2,000 runs without drift about two may, whatever their size; with many images no chance is needed."""
    random = np.random.default_rng(0)
    shares = [0.67, 0.11, 0.11, 0.05, 0.03, 0.02, 0.01]
    train = {str(label): share for label, share in enumerate(shares)}
    for count in (1, 5, 20, 100):
        draws = random.multinomial(count, shares, 500)
        warned = sum(drift(train, {str(label): int(n) for label, n in enumerate(draw)}, 0.25).warning for draw in draws)
        assert warned <= 5
    assert drift(train, {"1": 3}, 0.25).limit > drift(train, {"1": 300}, 0.25).limit
    assert drift(train, {"1": 100_000}, 0.25).limit == 0.25
    assert drift(train, {"1": 300}, 0.25).warning


def test_one_class_never_drifts():
    found = drift({"a": 1.0}, {"a": 7}, 0.25)
    assert found.figure == pytest.approx(0)
    assert not found.warning
