"""Classes are treated alike, however rare they are among the photographs that a model learned from."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from pipelines.domain.decision_rule import decision_values
from pipelines.domain.diagnoses import CLASS_SETS
from pipelines.score.challenge import challenge_for
from pipelines.score.columns import columns
from pipelines.score.score_row import ScoreRow, ScoringRun, top_class
from pipelines.score.submission import submission_bytes
from pipelines.score.summary import tally_rows
from tests.support.score_row_maker import score_row, scoring_run

HAM = CLASS_SETS["ham7"]
PRIOR = (0.03, 0.05, 0.11, 0.01, 0.11, 0.67, 0.02)


def test_the_class_is_the_one_with_the_largest_multiple_of_its_frequency() -> None:
    values = decision_values(np.array([[0.2, 0.8], [0.05, 0.95]]), np.array([0.1, 0.9]))
    np.testing.assert_allclose(values[0], np.array([2, 8 / 9]) / (2 + 8 / 9))
    assert values.argmax(axis=1).tolist() == [0, 1]


def test_equal_frequencies_change_nothing() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), 10)
    np.testing.assert_allclose(decision_values(probabilities, np.full(4, 0.25)), probabilities)


def test_a_class_that_was_never_seen_is_never_chosen() -> None:
    values = decision_values(np.array([[0.9, 0.05, 0.05], [1.0, 0.0, 0.0]]), np.array([0.0, 0.5, 0.5]))
    np.testing.assert_allclose(values, [[0, 0.5, 0.5], [1 / 3] * 3])


@pytest.fixture
def row() -> tuple[ScoringRun, ScoreRow]:
    """An image that is likely a nevus, but eleven times likelier a dermatofibroma than any image."""
    run = scoring_run(HAM, prior=PRIOR)
    probabilities = dict.fromkeys(HAM, 0.01) | {"df": 0.11, "nv": 0.84}
    return run, score_row("a.jpg", run, probabilities=tuple(probabilities[name] for name in HAM))


def test_tables_and_totals_say_the_same_class(row: tuple[ScoringRun, ScoreRow]) -> None:
    run, scored = row
    assert top_class(scored, run) == "df"
    (said,) = (column.values for column in columns([scored], run) if column.name == "top_class")
    assert list(said) == ["df"]
    totals = tally_rows([scored], run)
    assert totals["class", "df"] == 1
    assert totals["class", "nv"] == 0
    # How many of each class are to be expected is another question.
    assert totals["probability", "nv"] * 2.0**-40 == pytest.approx(0.84, abs=1e-6)


def test_a_submission_is_scored_by_the_same_class(row: tuple[ScoringRun, ScoreRow]) -> None:
    run, scored = row
    content = submission_bytes([scored], run, challenge_for(run.classes, "2018"))
    (line,) = csv.DictReader(io.StringIO(content.decode()))
    assert max((name for name in line if name != "image"), key=lambda name: float(line[name])) == "DF"
    assert sum(float(value) for name, value in line.items() if name != "image") == pytest.approx(1, abs=1e-6)
