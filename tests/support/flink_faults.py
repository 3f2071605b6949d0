"""Jobs of ours at a Flink cluster, and how its machines are lost and come back."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from deploy.engines.engine import Engine
from deploy.engines.flink import WORKERS_OF
from deploy.engines.processes import get_json
from tests.support.engine_faults import Running, started, wait_until

# A lost TaskManager counts as several failures, of its own tasks and of those that wait for what they have made.
RESTARTS = {
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "100",
    "restart-strategy.fixed-delay.delay": "1 s",
}
# A TaskManager that is gone is missed after two, one that says nothing after thirty seconds.
HEARTBEATS = {"heartbeat.interval": "1000", "heartbeat.timeout": "30000"}


class FlinkJob(Running):
    """A command that has sent its job to Flink.

    Args:
        page: Of Flink.
        process: The command.
        job_id: Of the job there.
    """

    def __init__(self, page: str, process: subprocess.Popen[str], job_id: str):
        super().__init__(process)
        self.page = page
        self.id = job_id

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
        return self.until(lambda: min(self.task_managers_of(step), default=""), f"the job reaches {step}")

    def restarts(self) -> int:
        """How often Flink has started tasks of the job again. Its metrics do not say while a TaskManager is silent."""
        return len(get_json(f"{self.page}/jobs/{self.id}/exceptions")["exceptionHistory"]["entries"])


@contextmanager
def sent(engine: Engine, *arguments: object, env: Mapping[str, str] | None = None) -> Iterator[FlinkJob]:
    """Runs `python -m ARGUMENTS` until its job is at Flink and beyond; killed if the block leaves it."""

    def jobs() -> set[str]:
        return {job["jid"] for job in get_json(f"{engine.page}/jobs/overview")["jobs"]}

    earlier = jobs()
    with started(engine, *arguments, env=env) as running:
        found = running.until(lambda: jobs() - earlier, "the job is at Flink")
        yield FlinkJob(engine.page, running.process, found.pop())


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
