"""Commands of ours that run beside each other on this machine, each on its share of the cores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import IO

from pipelines.cli import EXIT_SIGNAL


def available_cores() -> list[int]:
    """The cores this process may use; empty where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def split_cores(cores: Sequence[int], shares: int) -> list[list[int]]:
    """Equally many cores for each, so that all are equally fast; all of them for everyone if there are too few."""
    share = len(cores) // shares
    if not share:
        return [list(cores)] * shares
    return [list(cores[index * share : (index + 1) * share]) for index in range(shares)]


class Child:
    """A running command.

    mark: stands before each of its lines; without one they come as they are. cores: those it may use, all if empty.
    environment: variables besides those of this process.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        mark: str = "",
        cores: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ):
        piped = subprocess.PIPE if mark else None
        self._process = subprocess.Popen(
            command, env={**os.environ, **(environment or {})}, stdout=piped, stderr=piped, text=True
        )
        if cores:
            # Python has not yet counted them: it starts no thread before it reads its first module.
            os.sched_setaffinity(self._process.pid, cores)
        streams = ((self._process.stdout, sys.stdout), (self._process.stderr, sys.stderr))
        self._copies = [
            threading.Thread(target=_copy, args=(mark, source, target), daemon=True)
            for source, target in streams
            if source
        ]
        for copy in self._copies:
            copy.start()

    def wait(self) -> int:
        """Its exit code, once it has ended and all its lines are copied; less than 0 if a signal ended it."""
        for copy in self._copies:
            copy.join()
        return self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self._process.poll() is None:
            self._process.send_signal(number)


def shell_code(code: int) -> int:
    """The exit code of a process as a shell says it: of one that a signal ended, 128 and the signal's number."""
    return code if code >= 0 else EXIT_SIGNAL - code


def send_all(children: Iterable[Child], number: signal.Signals) -> None:
    for child in children:
        child.send(number)


def _copy(mark: str, source: IO[str], target: IO[str]) -> None:
    for line in source:
        target.write(f"{mark}{line}")
        target.flush()
