"""Show the progress of a run: plain lines, and a moving bar on a terminal."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from trainer.training.checkpoint import EpochRecord, RunState

_EVERY_SECONDS = 0.2
_WIDTH = 24


def bar(done: int, total: int, width: int = _WIDTH) -> str:
    """Return a progress bar, `[=====>    ]`, with `width` characters between the brackets."""
    filled = width * done // max(total, 1)
    head = ">" if filled < width else ""
    return f"[{('=' * filled + head).ljust(width)[:width]}]"


class EpochProgress:
    """Progress of a run, printed as lines.

    The bar is redrawn in place, and only on a terminal.
    """

    def __init__(self, epochs: int, examples: int, stream: TextIO | None = None):
        """Prepare the output.

        Args:
            epochs: Epochs of the run.
            examples: Examples per epoch.
            stream: Where lines and bar are written; stdout if None.
        """
        self._epochs, self._examples, self._stream = epochs, examples, stream or sys.stdout
        self._live = self._stream.isatty()
        self._drawn_at = -_EVERY_SECONDS
        self._drawn = 0
        self._first = (-1, 0, 0.0)

    def on_step(self, state: RunState, steps: int) -> None:
        """Redraw the bar after a step, at most every 0.2 s.

        Args:
            state: State of the run.
            steps: Steps per epoch.
        """
        if not self._live or not state.step:
            return
        now = time.monotonic()
        if self._first[0] != state.epoch:
            self._first = (state.epoch, state.step, now)
        if now - self._drawn_at < _EVERY_SECONDS and state.step < steps:
            return
        self._drawn_at = now
        per_step = self._examples / steps
        rate = (state.step - self._first[1]) * per_step / max(now - self._first[2], 1e-9)
        loss = state.loss_sum / max(state.weight_sum, 1e-12)
        line = (
            f"epoch {state.epoch + 1}/{self._epochs} {bar(state.step, steps)} {state.step}/{steps}  "
            f"loss {loss:.4f}  {rate:.0f} images/s"
        )
        self._stream.write("\r" + line.ljust(self._drawn))
        self._stream.flush()
        self._drawn = len(line)

    def on_save(self, state: RunState, steps: int) -> None:
        """Report a checkpoint.

        Args:
            state: State of the run.
            steps: Steps per epoch.
        """
        self.line(f"saved epoch {state.epoch + 1}/{self._epochs} step {state.step}/{steps}")

    def on_epoch(self, record: EpochRecord, improved: bool) -> None:
        """Report the figures of an epoch.

        Args:
            record: Figures of the epoch.
            improved: Whether it is the best so far, which is marked with a star.
        """
        self.line(
            f"epoch {record.epoch}/{self._epochs}  loss {record.loss:.4f}  val_loss {record.val_loss:.4f}  "
            f"val_balanced_accuracy {record.val_balanced_accuracy:.4f}{' *' if improved else '  '}  "
            f"learning_rate {record.learning_rate:.2e}  {record.images_per_second:.0f} images/s"
        )

    def line(self, text: str) -> None:
        """Print a line of its own, over the bar if there is one."""
        if self._drawn:
            self._stream.write("\r" + " " * self._drawn + "\r")
            self._drawn = 0
        print(text, file=self._stream, flush=True)
