"""End a run early in a way that a scheduler can restart from. Imports no TensorFlow.

A run that receives SIGTERM or has lost a worker exits with EX_TEMPFAIL: the same command, on every worker, continues
it.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from pipelines.common import console
from pipelines.common.cli import EXIT_RESTART


class RestartError(Exception):
    """End of an unfinished run through no fault of its own; the same command continues the run."""


class Preemption:
    """Request to end this process, made by SIGTERM.

    Before `defer` is called there is nothing to save, and the signal ends the process at once.
    """

    def __init__(self) -> None:
        self.requested = False
        self._deferred = False

    def install(self) -> None:
        """Install the handler of SIGTERM."""
        signal.signal(signal.SIGTERM, self._on_signal)

    def defer(self) -> None:
        """Only note signals from now on: the training loop checks `requested` and saves."""
        self._deferred = True
        # Install it again: TensorFlow's multi-worker runtime has replaced it with a handler that ends nothing.
        self.install()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if not self._deferred:
            exit_process("SIGTERM before the first step; the same command starts again", EXIT_RESTART)


def exit_process(message: str, code: int) -> NoReturn:
    """Print one line and end this process now, whatever its threads are waiting for.

    Args:
        message: Line for stderr.
        code: Exit code.
    """
    say(message)
    os._exit(code)


def say(message: str) -> None:
    """Print one line on stderr, after what is on its way to stdout."""
    sys.stdout.flush()
    console.say(message)
