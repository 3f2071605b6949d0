"""Nothing is lost and nothing counted twice, or the run fails and says by how much."""

from __future__ import annotations

import pytest

from pipelines.common.cli import LimitExceeded
from pipelines.dataset import accounting
from tests.support.tallies import rows_of, tallies


def test_sums_agree():
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
def test_sums_that_disagree_fail_and_say_by_how_much(listed, says):
    with pytest.raises(accounting.AccountingError, match=says):
        accounting.check_sums(*tallies(rows_of("written", "rejected"), listed))


def test_reject_limit():
    accounting.check_reject_fraction({"rejected": 1, "listed": 4}, 0.25, "out")
    with pytest.raises(LimitExceeded, match="2 of 4 files rejected"):
        accounting.check_reject_fraction({"rejected": 2, "listed": 4}, 0.25, "out")
