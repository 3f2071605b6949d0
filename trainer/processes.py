"""Commands of ours that run beside each other on this machine, each on its share of the cores."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import Empty, SimpleQueue
from types import FrameType
from typing import IO, NamedTuple, TextIO

from pipelines.cli import EXIT_OK, EXIT_SIGNAL

# How often we look whether a signal came: Python's handlers run in the main thread, which another may have kept asleep.
_LOOK_SECONDS = 0.2


class Command(NamedTuple):
    """What to run. mark: stands before each of its lines; without one they come as they are.

    environment: variables besides those of this process.
    """

    arguments: Sequence[str]
    mark: str = ""
    environment: Mapping[str, str] = {}


class Outcome(NamedTuple):
    """How commands ended. code: of the first that failed, else 0. signal: the first that told us to end, or None."""

    code: int
    signal: signal.Signals | None


def available_cores() -> list[int]:
    """The cores this process may use; empty where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def split_cores(cores: Sequence[int], shares: int) -> list[list[int]]:
    """Equally many cores for each, so that all are equally fast; all of them for everyone if there are too few."""
    share = len(cores) // shares
    if not share:
        return [list(cores)] * shares
    return [list(cores[index * share : (index + 1) * share]) for index in range(shares)]


def run_chains(chains: Sequence[Iterator[Command]], at_once: int, grace_seconds: float) -> Outcome:
    """Run chains of commands, `at_once` of them beside each other, to the end of the last.

    The next command of a chain is asked for when the one before has succeeded. When one fails, or SIGTERM or SIGINT
    comes, nothing more is started; what runs gets SIGTERM, and SIGKILL after `grace_seconds` or at a second signal.
    For the main thread only.
    """
    shares = split_cores(available_cores(), at_once) if at_once > 1 else [[]]
    waiting = deque(range(len(chains)))
    held: dict[int, list[int]] = {}
    running: dict[int, _Child] = {}
    ended: SimpleQueue[int] = SimpleQueue()
    first, deadline = EXIT_OK, math.inf

    def go_on(number: int) -> None:
        """Start a chain's next command, or give its cores back."""
        command = next(chains[number], None)
        if command:
            running[number] = _Child(command, held[number], lambda: ended.put(number))
        else:
            shares.append(held.pop(number))

    with _noted_signals() as received:
        try:
            while True:
                while waiting and shares and not (received or first):
                    number = waiting.popleft()
                    held[number] = shares.pop(0)
                    go_on(number)
                if not running:
                    return Outcome(first, received[0] if received else None)
                if (received or first) and deadline == math.inf:
                    deadline = time.monotonic() + grace_seconds
                    _send_all(running, signal.SIGTERM)
                if len(received) > 1 or time.monotonic() > deadline:
                    _send_all(running, signal.SIGKILL)
                with contextlib.suppress(Empty):
                    number = ended.get(timeout=_LOOK_SECONDS)
                    code = running.pop(number).exit_code()
                    first = first or code
                    if not (received or first):
                        go_on(number)
        finally:
            # After a failure of ours nobody waits for what still runs.
            _send_all(running, signal.SIGKILL)


@contextlib.contextmanager
def _noted_signals() -> Iterator[list[signal.Signals]]:
    """SIGTERM and SIGINT interrupt nothing, but are added to a list."""
    received: list[signal.Signals] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(signal.Signals(number))

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Child:
    """A command that runs, on some cores (on any if there are none). on_end: called once, by another thread."""

    def __init__(self, command: Command, cores: Sequence[int], on_end: Callable[[], None]):
        self._mark = command.mark
        piped = subprocess.PIPE if command.mark else None
        with _only_on(cores):
            self._process = subprocess.Popen(
                command.arguments, env={**os.environ, **command.environment}, stdout=piped, stderr=piped
            )
        streams = ((self._process.stdout, sys.stdout), (self._process.stderr, sys.stderr))
        copies = [
            threading.Thread(target=self._copy, args=(source, target), daemon=True)
            for source, target in streams
            if source
        ]
        for copy in copies:
            copy.start()

        def wait() -> None:
            for copy in copies:
                copy.join()
            self._process.wait()
            on_end()

        threading.Thread(target=wait, daemon=True).start()

    def exit_code(self) -> int:
        """As a shell says it: of one that a signal ended, 128 and the signal's number."""
        code = self._process.wait()
        if code < 0:
            print(f"{self._mark}ended by {signal.Signals(-code).name}", file=sys.stderr, flush=True)
        return code if code >= 0 else EXIT_SIGNAL - code

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def _copy(self, source: IO[bytes], target: TextIO) -> None:
        """Copy lines to the end, whatever bytes they are: a pipe that nobody reads would stop the command."""
        for line in source:
            try:
                target.write(f"{self._mark}{line.decode(errors='replace')}")
                target.flush()
            except OSError:
                # Whoever read our output has gone.
                self.send(signal.SIGTERM)


@contextlib.contextmanager
def _only_on(cores: Sequence[int]) -> Iterator[None]:
    """What is started within runs on these cores only: it inherits where this thread may run."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _send_all(running: Mapping[int, _Child], number: signal.Signals) -> None:
    for child in running.values():
        child.send(number)
