"""Run several commands at once on this machine, each on its share of the cores."""

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

from pipelines.common.cli import EXIT_OK, EXIT_SIGNAL

# How often to check for signals: Python's handlers run in the main thread, which may sleep while another thread gets
# the signal.
_LOOK_SECONDS = 0.2


class Command(NamedTuple):
    """Command to run."""

    arguments: Sequence[str]
    mark: str = ""  # prefix of each output line; empty: the output is not changed
    environment: Mapping[str, str] = {}  # variables besides those of this process


class Outcome(NamedTuple):
    """Result of running commands."""

    code: int  # of the first command to fail, else 0
    signal: signal.Signals | None  # the first one that ended the run


def available_cores() -> list[int]:
    """Return the cores this process may use; empty where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def split_cores(cores: Sequence[int], shares: int) -> list[list[int]]:
    """Divide cores into equal shares, so that all commands are equally fast.

    Args:
        cores: Numbers of the cores; those left over after the division are not used.
        shares: Number of shares.

    Returns:
        The cores of each share; if there are fewer cores than shares, every share has all of them.
    """
    share = len(cores) // shares
    if not share:
        return [list(cores)] * shares
    return [list(cores[index * share : (index + 1) * share]) for index in range(shares)]


def run_chains(chains: Sequence[Iterator[Command]], at_once: int, grace_seconds: float) -> Outcome:
    """Run chains of commands and wait until the last one ends.

    The next command of a chain is requested when the one before has succeeded. When a command fails, or SIGTERM or
    SIGINT arrives, nothing more is started; running commands get SIGTERM, and SIGKILL after `grace_seconds` or at a
    second signal. Call this from the main thread only.

    Args:
        chains: Iterators over the commands of each chain.
        at_once: Number of chains that run at the same time.
        grace_seconds: Time between SIGTERM and SIGKILL.
    """
    shares = split_cores(available_cores(), at_once) if at_once > 1 else [[]]
    waiting = deque(range(len(chains)))
    held: dict[int, list[int]] = {}
    running: dict[int, _Child] = {}
    ended: SimpleQueue[int] = SimpleQueue()
    first, deadline = EXIT_OK, math.inf

    def go_on(number: int) -> None:
        """Start the next command of a chain, or give back its cores."""
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
            # After an error in this function nobody waits for what is still running.
            _send_all(running, signal.SIGKILL)


@contextlib.contextmanager
def _noted_signals() -> Iterator[list[signal.Signals]]:
    """Add SIGTERM and SIGINT to the list yielded, instead of letting them interrupt anything."""
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
    """Running command, on some cores (on any if the list is empty).

    `on_end` is called once, from another thread.
    """

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
        """Return the exit code as a shell does: 128 plus the number of the signal if one ended the command."""
        code = self._process.wait()
        if code < 0:
            print(f"{self._mark}ended by {signal.Signals(-code).name}", file=sys.stderr, flush=True)
        return code if code >= 0 else EXIT_SIGNAL - code

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the command has ended."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def _copy(self, source: IO[bytes], target: TextIO) -> None:
        """Copy all lines, whatever bytes they hold: a pipe that nobody reads would block the command."""
        for line in source:
            try:
                target.write(f"{self._mark}{line.decode(errors='replace')}")
                target.flush()
            except OSError:
                # Nobody reads our output any more.
                self.send(signal.SIGTERM)


@contextlib.contextmanager
def _only_on(cores: Sequence[int]) -> Iterator[None]:
    """Start processes on these cores only: they inherit the cores of this thread."""
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
