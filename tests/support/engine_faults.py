"""What breaks a cluster in the middle of a command, and what tells that the moment has come."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from deploy.engines.engine import Engine
from deploy.engines.processes import Services
from tests.support.tiny_dataset import ROOT

# Far beyond what a job takes; one that hangs must not hang the tests.
LIMIT = 900
_LOOK = 0.05


def wait_until(happened: Callable[[], Any], what: str) -> Any:
    """Returns the first result that counts as true; an OSError is none."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        with suppress(OSError):
            if result := happened():
                return result
        time.sleep(_LOOK)
    raise AssertionError(f"not within {LIMIT} s: {what}")


@contextmanager
def started(engine: Engine, *arguments: object, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Runs `python -m ARGUMENTS` on an engine; killed if the block leaves it."""
    with subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments), *engine.options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    ) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


class Running:
    """A command that runs."""

    def __init__(self, process: subprocess.Popen[str]):
        self.process = process

    def until(self, happened: Callable[[], Any], what: str) -> Any:
        """Waits for something that happens while the command runs."""

        def happened_in_time() -> Any:
            found = happened()
            assert found or self.process.poll() is None, self.process.communicate()[1]
            return found

        return wait_until(happened_in_time, what)

    def writes(self, output: Path, pattern: str) -> None:
        """Waits until the job has written a file below `.unfinished` of an output."""
        self.until(lambda: any((output / ".unfinished").glob(f"*/{pattern}")), f"{pattern} in {output}")

    def ends(self) -> subprocess.CompletedProcess[str]:
        out, err = self.process.communicate(timeout=LIMIT)
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, out, err)


def _workers(services: Services, pool: str) -> list[int]:
    children = Path(f"/proc/{services.pid(pool)}/task").glob("*/children")
    return [int(child) for each in children for child in each.read_text().split()]


@contextmanager
def frozen(services: Services, pool: str, *others: str) -> Iterator[list[int]]:
    """Stops the workers of a pool, and services, in the midst of what they do, and lets them go on after the block.

    Gives the workers.
    """
    workers = _workers(services, pool)
    assert workers
    # Each is the leader of its group.
    groups = [*map(services.pid, others), *workers]
    for group in groups:
        os.killpg(group, signal.SIGSTOP)
    try:
        yield workers
    finally:
        for group in groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGCONT)


def have_ended(workers: Iterable[int]) -> bool:
    """Tells whether none of these workers is left."""
    return not any(Path(f"/proc/{worker}").exists() for worker in workers)
