"""Options of the score job."""

from __future__ import annotations

import pytest

from pipelines.common.cli import UsageError
from pipelines.score.options import AUTO, ScoreOptions, parse_options
from pipelines.sources.locations import Location

NEEDED = ["--input", "in", "--model", "m", "--output", "out"]


def test_defaults_are_those_of_the_options() -> None:
    options, rest = parse_options(NEEDED)
    assert options == ScoreOptions(input=("in",), model=("m",), output="out")
    assert rest == []


def test_repeated_options_are_kept_in_order_and_beam_gets_the_rest() -> None:
    options, rest = parse_options(
        [*NEEDED, "--input", "more", "--previous=p", "--previous=q", "--runner", "DirectRunner"]
    )
    assert (options.input, options.previous) == (("in", "more"), ("p", "q"))
    assert rest == ["--runner", "DirectRunner"]


@pytest.mark.parametrize(
    ("given", "submission"), [([], ""), (["--submission"], AUTO), (["--submission", "2019"], "2019")]
)
def test_a_submission_may_name_its_year(given: list[str], submission: str) -> None:
    assert parse_options([*NEEDED, *given])[0].submission == submission


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--batch_size", "0"], "--batch_size 0: 1 or more is needed"),
        (["--escape_formulas"], "--escape_formulas: --format parquet is not for spreadsheets; add --format csv"),
        (["--report_top", "1001"], "--report_top 1001: a number from 1 to 1000 is needed"),
        (["--drift_threshold", "nan"], "--drift_threshold nan: a number above 0 is needed"),
        (["--flag_sensitivity", "1.5"], "--flag_sensitivity 1.5: a number above 0 and at most 1 is needed"),
        (["--flag_threshold", "0"], "--flag_threshold 0: a number above 0 and at most 1 is needed"),
        (["--max_reject_fraction", "2"], "--max_reject_fraction 2: a number from 0 to 1 is needed"),
        (["--threads", "-1"], "--threads -1: 0 or more is needed"),
        (
            ["--flag_sensitivity", "0.9", "--flag_threshold", "0.5"],
            "--flag_sensitivity 0.9 and --flag_threshold 0.5: each chooses the threshold; give one of them",
        ),
        (["--format", "xml"], "argument --format: invalid choice: 'xml'"),
    ],
)
def test_impossible_values_are_refused_in_one_line(given: list[str], says: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_options([*NEEDED, *given])
    assert str(refused.value).startswith(says)
    assert "\n" not in str(refused.value)


def test_places_come_with_the_options_that_name_them() -> None:
    options, _ = parse_options([*NEEDED, "--previous", "p"])
    assert options.locations() == [
        Location("--input", "in", is_input=True),
        Location("--model", "m"),
        Location("--previous", "p"),
        Location("--output", "out"),
    ]
