"""Plain lines into a file, a bar on a terminal."""

from __future__ import annotations

import io

import pytest

from trainer.training.checkpoint import EpochRecord, RunState
from trainer.training.progress import EpochProgress, bar

RECORD = EpochRecord(1, 0.5, 0.6, 0.7, 64, 1e-3, 100.0, 2.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def epoch(stream: io.StringIO) -> str:
    progress, state = EpochProgress(3, 80, stream), RunState()
    for _ in range(4):
        state.add_step(2.0, 4.0)
        progress.on_step(state, 4)
        if state.step == 2:
            progress.on_save(state, 4)
    progress.on_epoch(RECORD, True)
    return stream.getvalue()


def test_a_file_gets_whole_lines_only() -> None:
    assert epoch(io.StringIO()).splitlines() == [
        "saved epoch 1/3 step 2/4",
        "epoch 1/3  loss 0.5000  val_loss 0.6000  val_balanced_accuracy 0.7000 *  learning_rate 1.00e-03  100 images/s",
    ]


def test_a_terminal_gets_a_bar_that_lines_replace() -> None:
    text = epoch(Terminal())
    assert "\repoch 1/3 [======>" in text
    assert "] 4/4  loss 0.5000" in text
    # What stays on the screen, line by line: whatever follows the last carriage return.
    shown = [line.rpartition("\r")[2] for line in text.split("\n")]
    assert shown == epoch(io.StringIO()).split("\n")


@pytest.mark.parametrize(("done", "shown"), [(0, "[>   ]"), (2, "[==> ]"), (4, "[====]")])
def test_the_bar_fills_with_the_steps_that_are_done(done: int, shown: str) -> None:
    assert bar(done, 4, 4) == shown
