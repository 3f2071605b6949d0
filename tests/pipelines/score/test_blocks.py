"""Score rows through a shuffle: exactly the same, and small."""

from __future__ import annotations

import pytest

from pipelines.score.blocks import pack, unpack
from pipelines.score.score_row import ScoreRow
from tests.support.score_row_maker import HOSTILE_PATHS, score_row, scoring_run


@pytest.mark.parametrize("models", [1, 3])
def test_rows_come_back_exactly(models: int) -> None:
    run = scoring_run(models=models)
    rows = [score_row(path, run) for path in HOSTILE_PATHS]
    rows += [
        ScoreRow("only listed", "only listed", "listed"),
        ScoreRow("broken", "broken", "b", size=2**62).rejected("read", "unreadable", "no \udcff such\nfile"),
        # Not a 32-bit number, and ends of the range.
        score_row("double", run, probabilities=(0.1, 5e-324, 1.0), by_model=((), (0.1,), ()), size=2**70),
    ]
    for block in ([], rows[:1], rows, rows[::-1]):
        assert unpack(pack(block)) == block
    assert {type(value) for row in unpack(pack(rows)) for value in row.probabilities} == {float}


def test_a_block_of_scores_is_small() -> None:
    run = scoring_run()
    rows = [score_row(f"gs://bucket/archive/2026/part-{n % 7}/ISIC_{n:07d}.jpg", run) for n in range(100)]
    assert len(pack(rows)) < 200 * len(rows)
