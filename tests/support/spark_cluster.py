"""A Spark cluster whose log of events tells what its job does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.engines.engine import MACHINES, Engine
from deploy.engines.processes import free_ports, get_json
from deploy.engines.spark import running_spark


@dataclass(frozen=True)
class SparkCluster:
    """A cluster that runs.

    Attributes:
        engine: The cluster.
        folder: Where each job's events are written.
        live: Where a job that runs answers.
    """

    engine: Engine
    folder: Path
    live: str

    def events(self) -> list[dict[str, Any]]:
        """Of the newest job, as far as Spark has written them: the last line may be no whole one."""
        newest = max(self.folder.iterdir(), key=lambda log: log.stat().st_ctime_ns, default=None)
        lines = newest.read_text().splitlines(keepends=True) if newest else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events() if event["Event"] == f"SparkListener{kind}"]

    def attempts_beside_others(self) -> int:
        """How many tasks Spark has started a second time while the first attempt ran."""
        return sum(event["Task Info"]["Speculative"] for event in self.of_kind("TaskStart"))

    def busy_pool(self) -> str:
        """The pool of a machine on which a task runs; empty if none does."""
        # The log says so only when a stage is done.
        jobs = f"{self.live}/api/v1/applications"
        for job in get_json(jobs):
            for stage in get_json(f"{jobs}/{job['id']}/stages?status=active"):
                tasks = get_json(f"{jobs}/{job['id']}/stages/{stage['stageId']}/{stage['attemptId']}/taskList")
                hosts = {task["host"] for task in tasks if task["status"] == "RUNNING"}
                return next((pool for pool, address in MACHINES.items() if address in hosts), "")
        return ""

    def applications(self) -> int:
        """How many applications Spark runs: one for each job."""
        return len(get_json(f"{self.engine.page}/json/")["activeapps"])

    def kill_executor(self) -> None:
        command = ("pgrep", "-P", str(self.engine.services.pid("worker-1")), "-f", "CoarseGrainedExecutorBackend")
        (executor,) = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        os.kill(int(executor), signal.SIGKILL)


@contextmanager
def spark_cluster(folder: Path, properties: Mapping[str, str]) -> Iterator[SparkCluster]:
    """Runs a cluster in a new folder, with properties of Spark besides."""
    events = folder / "events"
    events.mkdir()
    (port,) = free_ports(1)
    seen = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": str(events), "spark.ui.port": str(port)}
    with running_spark(folder / "run", properties=seen | dict(properties)) as engine:
        yield SparkCluster(engine, events, f"http://localhost:{port}")
