"""The summary of a run: how far the classes have moved."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from pipelines.dataset.accounting import path_hash
from pipelines.score.score_row import ScoreRow
from pipelines.score.summary import drift, startup_seconds, tally_rows
from tests.support.score_row_maker import score_row, scoring_run

TRAIN = {"a": 0.5, "b": 0.3, "c": 0.2}


def test_nothing_scored_has_no_figure() -> None:
    found = drift(TRAIN, {"a": 0}, 0.25)
    assert (found.figure, found.warning) == (None, False)
    assert found.scored == {"a": 0, "b": 0, "c": 0}


def test_equal_shares_have_not_moved() -> None:
    counts = {name: round(share * 100_000) for name, share in TRAIN.items()}
    found = drift(TRAIN, counts, 0.25)
    assert found.figure == pytest.approx(0, abs=1e-9)
    assert found.scored == pytest.approx(TRAIN)
    assert (found.train, found.limit, found.warning) == (TRAIN, 0.25, False)


def test_a_value_computed_by_hand() -> None:
    """100 and 300 images: with half an image each 100.5 and 300.5 of 401, against halves."""
    found = drift({"a": 0.5, "b": 0.5}, {"a": 100, "b": 300}, 0.25)
    low, high = 100.5 / 401, 300.5 / 401
    expected = (low - 0.5) * math.log(low / 0.5) + (high - 0.5) * math.log(high / 0.5)
    assert found.figure == pytest.approx(expected)
    assert found.figure == pytest.approx(0.273, abs=0.001)
    assert found.warning


def test_names_do_not_matter_and_neither_does_the_direction() -> None:
    moved = {"a": 20_000, "b": 30_000, "c": 50_000}
    forth = drift(TRAIN, moved, 0.25).figure
    renamed = drift({"x": 0.2, "y": 0.5, "z": 0.3}, {"z": 30_000, "x": 50_000, "y": 20_000}, 0.25).figure
    back = drift({name: count / 100_000 for name, count in moved.items()}, {"a": 50_000, "b": 30_000, "c": 20_000}, 1)
    assert forth == pytest.approx(renamed)
    assert forth == pytest.approx(back.figure, rel=1e-3)
    assert forth is not None
    assert forth > 0


def test_classes_that_moved_further_have_a_larger_figure() -> None:
    moved = [drift({"a": 0.5, "b": 0.5}, {"a": 500 + n, "b": 500 - n}, 0.25) for n in (0, 50, 100, 200, 500)]
    figures = [figure for one in moved if (figure := one.figure) is not None]
    assert len(figures) == len(moved)
    assert figures == sorted(figures)
    assert figures[0] < figures[1]
    assert math.isfinite(figures[-1])


def test_a_class_without_training_images_is_finite_and_counts() -> None:
    train = {"a": 0.9, "b": 0.1, "new": 0.0}
    without = drift(train, {"a": 900, "b": 100}, 0.25)
    some = drift(train, {"a": 900, "b": 100, "new": 1}, 0.25)
    many = drift(train, {"a": 600, "b": 100, "new": 300}, 0.25)
    assert without.figure == pytest.approx(0, abs=1e-3)
    assert without.figure is not None
    assert some.figure is not None
    assert many.figure is not None
    assert without.figure < some.figure < 0.25 < many.figure
    assert (some.warning, many.warning) == (False, True)


def test_few_images_of_the_same_classes_do_not_warn() -> None:
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


def test_one_class_never_drifts() -> None:
    found = drift({"a": 1.0}, {"a": 7}, 0.25)
    assert found.figure == pytest.approx(0)
    assert not found.warning


def test_totals_are_the_same_however_rows_are_dealt_out() -> None:
    run = scoring_run(threshold=0.5)
    rows = [score_row(f"{n}.jpg", run) for n in range(40)]
    rows += [ScoreRow(f"bad{n}", f"bad{n}", "bad").rejected("read", "unreadable", "no") for n in range(3)]
    whole = tally_rows(rows, run)
    parts: Counter = Counter()
    for start in range(0, len(rows), 7):
        parts.update(tally_rows(rows[::-1][start : start + 7], run))
    assert {key: count for key, count in parts.items() if count} == {
        key: count for key, count in whole.items() if count
    }
    assert (whole["outcome", "scored"], whole["outcome", "rejected"], whole["reason", "unreadable"]) == (40, 3, 3)
    assert sum(count for key, count in whole.items() if key[0] == "class") == 40
    assert whole["outcome paths",] == sum(path_hash(row.path) for row in rows)
    assert 0 < whole["flagged",] < 40
    assert ("flagged",) not in tally_rows(rows, scoring_run(threshold=None))


def test_the_start_up_lasts_until_the_first_image_of_any_worker_is_read() -> None:
    run = scoring_run()
    rows = [score_row(f"{number}.jpg", run, read_at=1070 + number) for number in (7, 3, 9)]
    totals = tally_rows(rows, run) + tally_rows(rows[:1], run)
    assert startup_seconds(totals, 100.0, 20.0) == pytest.approx(7.3)
    # The clocks of machines differ.
    assert startup_seconds(totals, 200.0, 20.0) == 0.0
    assert startup_seconds(totals, 0.0, 20.0) == 20.0
    assert startup_seconds(Counter(), 100.0, 20.0) == 0.0
