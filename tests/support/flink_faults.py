"""What breaks a Flink cluster at a chosen moment of one of our jobs, and what tells the moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.engines.engine import Engine
from deploy.engines.flink import WORKERS_OF
from deploy.engines.processes import get_json

ROOT = Path(__file__).resolve().parents[2]
# A lost TaskManager counts as several failures, of its own tasks and of those that wait for what they have made.
RESTARTS = {
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "100",
    "restart-strategy.fixed-delay.delay": "1 s",
}
# A TaskManager that is gone is missed after two, one that says nothing after thirty seconds.
HEARTBEATS = {"heartbeat.interval": "1000", "heartbeat.timeout": "30000"}
# Far beyond what a job takes; one that hangs must not hang the tests.
_LIMIT = 900
_LOOK = 0.05


def wait_until(happened: Callable[[], Any], what: str) -> Any:
    """Returns the first result that counts as true; an OSError is none."""
    end = time.monotonic() + _LIMIT
    while time.monotonic() < end:
        with suppress(OSError):
            if result := happened():
                return result
        time.sleep(_LOOK)
    raise AssertionError(f"not within {_LIMIT} s: {what}")


@dataclass
class RunningJob:
    """A command that has sent its job to Flink.

    Attributes:
        page: Of Flink.
        process: The command.
        id: Of the job there.
    """

    page: str
    process: subprocess.Popen[str]
    id: str

    def state(self) -> str:
        return get_json(f"{self.page}/jobs/{self.id}")["state"]

    def task_managers_of(self, step: str) -> list[str]:
        """The TaskManagers on which tasks of a step run."""
        for vertex in get_json(f"{self.page}/jobs/{self.id}")["vertices"]:
            if step in vertex["name"] and vertex["status"] == "RUNNING":
                tasks = get_json(f"{self.page}/jobs/{self.id}/vertices/{vertex['id']}")["subtasks"]
                return [task["taskmanager-id"] for task in tasks if task["status"] == "RUNNING"]
        return []

    def reaches(self, step: str) -> str:
        """Waits until a task of a step runs; gives its TaskManager."""

        def found() -> str:
            assert self.process.poll() is None, self.process.communicate()[1]
            return min(self.task_managers_of(step), default="")

        return wait_until(found, f"the job reaches {step}")

    def writes(self, output: Path, pattern: str) -> None:
        """Waits until the job has written a file below `.unfinished` of an output."""

        def found() -> bool:
            assert self.process.poll() is None, self.process.communicate()[1]
            return any((output / ".unfinished").glob(f"*/{pattern}"))

        wait_until(found, f"{pattern} in {output}")

    def ends(self) -> subprocess.CompletedProcess[str]:
        out, err = self.process.communicate(timeout=_LIMIT)
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, out, err)


@contextmanager
def sent(engine: Engine, *arguments: object, env: Mapping[str, str] | None = None) -> Iterator[RunningJob]:
    """Runs `python -m ARGUMENTS` until its job is at Flink and beyond; killed if the block leaves it."""

    def jobs() -> set[str]:
        return {job["jid"] for job in get_json(f"{engine.page}/jobs/overview")["jobs"]}

    earlier = jobs()
    with subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments), *engine.options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    ) as process:
        try:

            def found() -> set[str]:
                assert process.poll() is None, process.communicate()[1]
                return jobs() - earlier

            yield RunningJob(engine.page, process, wait_until(found, "the job is at Flink").pop())
        finally:
            process.kill()


def task_managers(engine: Engine) -> set[str]:
    return {each["id"] for each in get_json(f"{engine.page}/taskmanagers")["taskmanagers"]}


def lose_machine(engine: Engine, task_manager: str) -> None:
    """Kills a TaskManager and its workers, as when their machine loses its power."""
    for name in (task_manager, WORKERS_OF[task_manager]):
        engine.services.stop(name, signal.SIGKILL)


def mend(engine: Engine, *names: str) -> None:
    """Starts services that were stopped, and waits until all TaskManagers are there."""
    for name in names:
        engine.services.start_again(name)
    wait_until(lambda: task_managers(engine) == set(WORKERS_OF), "all TaskManagers are back")
