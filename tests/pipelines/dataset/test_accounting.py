"""Nothing is lost and nothing counted twice, or the run fails and says by how much."""

from __future__ import annotations

from collections import Counter

import pytest

from pipelines.common.cli import LimitExceeded
from pipelines.dataset import accounting
from tests.support.tallies import rows_of, tallies


def test_sums_of_every_outcome_agree_with_what_was_listed() -> None:
    rows = rows_of("written", "duplicate", "rejected", "undersampled")
    accounting.check_sums(*tallies(rows, [row.path for row in rows]))


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        (["/a/0", "/a/1", "/a/2"], "3 files listed, but 1 written .* = 2: 1 lost"),
        (["/a/0"], "1 files listed, .* = 2: 1 counted twice"),
        (["/a/0", "/a/9"], "not the same files"),
    ],
)
def test_sums_that_disagree_fail_and_say_by_how_much(listed: list[str], says: str) -> None:
    with pytest.raises(accounting.AccountingError, match=says):
        accounting.check_sums(*tallies(rows_of("written", "rejected"), listed))


def test_more_rejects_than_the_limit_are_an_error() -> None:
    accounting.check_reject_fraction({"rejected": 1, "listed": 4}, 0.25, "out")
    accounting.check_reject_fraction(accounting.photographs({"rejected": 5, "listed": 9, "ignored": 1}, 4), 0.25, "out")
    with pytest.raises(LimitExceeded, match="2 of 4 files rejected"):
        accounting.check_reject_fraction({"rejected": 2, "listed": 4}, 0.25, "out")


def test_reasons_are_counted_in_the_order_of_their_names() -> None:
    totals = Counter({("reason", "undecodable"): 2, ("outcome", "rejected"): 3, ("reason", "empty_file"): 1})
    assert list(accounting.reasons(totals).items()) == [("empty_file", 1), ("undecodable", 2)]
