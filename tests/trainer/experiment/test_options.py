"""The command line of an experiment: what it takes, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from trainer.experiment.options import parse_experiment

NEEDED = ["--dataset=d", "--output=o", "--recipe=c.json"]


def test_options_that_are_not_given_have_their_defaults() -> None:
    options = parse_experiment(NEEDED)
    assert (options.dataset, options.output, options.recipe) == (Path("d"), Path("o"), Path("c.json"))
    assert (options.changes, options.balanced, options.card, options.metadata) == (None, None, None, ())
    assert (options.change_folds, options.jobs) == ((0,), 1)


def test_folds_are_taken_once_each_and_tables_as_often_as_given() -> None:
    options = parse_experiment([*NEEDED, "--change_folds=2,0,2", "--metadata=a.csv", "--metadata=b.csv"])
    assert options.change_folds == (2, 0)
    assert options.metadata == (Path("a.csv"), Path("b.csv"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "--dataset, --output, --recipe"),
        ([*NEEDED, "--change_folds=0,x"], "'0,x' is not a list of folds; give numbers as in 0,1,2"),
        ([*NEEDED, "--dataset=gs://bucket/d"], "'gs://bucket/d': only local directories and files work here"),
        ([*NEEDED, "--card="], "'': only local directories and files work here"),
        ([*NEEDED, "--jobs=0"], "--jobs: 0 is out of range: give 1 or more"),
    ],
)
def test_a_wrong_command_line_is_explained(given: list[str], says: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_experiment(given)
    assert says in str(error.value)
