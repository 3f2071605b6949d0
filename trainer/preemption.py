"""Ending early in a way that a scheduler can start again from. Imports no TensorFlow.

A run that is told to go (SIGTERM) or that has lost a worker exits with EX_TEMPFAIL: the same command, on every
worker, continues it.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

EXIT_RESTART = os.EX_TEMPFAIL  # 75


class RestartError(Exception):
    """The run ends unfinished, through no fault of its own; the same command continues it."""


class Preemption:
    """Whether this process has been told to end. Before `defer` there is nothing to save, and it ends at once."""

    def __init__(self) -> None:
        self.requested = False
        self._deferred = False

    def install(self) -> None:
        signal.signal(signal.SIGTERM, self._on_signal)

    def defer(self) -> None:
        """From now on a signal is only noted: the loop asks for `requested` and saves."""
        self._deferred = True
        # Once more: TensorFlow's multi-worker runtime has put a handler of its own in place, which ends nothing.
        self.install()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if not self._deferred:
            leave("SIGTERM before the first step; the same command starts again", EXIT_RESTART)


def leave(message: str, code: int) -> None:
    """Print one line and end this process now, whatever its threads wait for."""
    sys.stdout.flush()
    print(f"trainer.task: {message}", file=sys.stderr, flush=True)
    os._exit(code)
