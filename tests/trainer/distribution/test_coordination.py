"""The meeting of workers and their watch over each other. Needs no TensorFlow."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipelines.common.cli import EXIT_RESTART
from tests.support.tiny_dataset import ROOT
from trainer.distribution.local_cluster import free_ports, local_configs

LIMIT_SECONDS = 60

# A worker that does what trainer.task does around training; "work" lasts until stdin says how it ends.
WORKER = """
import json, sys
from pipelines.common import console
from pipelines.common.cli import UsageError
from trainer.distribution.cluster import read_cluster
from trainer.distribution.coordination import WorkerConnections
from trainer.distribution.preemption import RestartError, exit_process
console.begin("trainer.task")
connections = WorkerConnections(read_cluster())
if sys.argv[3:]:
    connections.give_up(sys.argv[3], 2)
try:
    connections.connect(json.loads(sys.argv[1]), float(sys.argv[2]))
except RestartError as error:
    exit_process(str(error), 75)
except UsageError as error:
    connections.give_up(str(error), 2)
state = connections.broadcast(b"checkpoint" * 100_000 if connections.cluster.is_chief else None)
print("met", len(state), flush=True)
if sys.stdin.readline() == "fail\\n":
    connections.give_up("error: no space left", 2)
connections.disconnect()
print("parted", flush=True)
"""


@pytest.fixture
def worker() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a worker; whatever is left of them at the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(
        tf_config: str, told: dict[str, Any] | None = None, timeout: float = LIMIT_SECONDS, *failed: str
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, json.dumps(told or {}), str(timeout), *failed],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "TF_CONFIG": tf_config},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def outcome(process: subprocess.Popen[str], say: str | None = None) -> tuple[int, str, str]:
    out, error = process.communicate(say, timeout=LIMIT_SECONDS)
    return process.returncode, out, error


def met(processes: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "met 1000000\n"
    return processes


def test_workers_meet_share_and_part(worker: Callable[..., subprocess.Popen[str]]) -> None:
    processes = met([worker(one, {"seed": 3}) for one in local_configs(free_ports(3))])
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [outcome(process) for process in processes] == [(0, "parted\n", "")] * 3


@pytest.mark.parametrize("lost", [0, 2])
def test_a_killed_worker_ends_all_others(worker: Callable[..., subprocess.Popen[str]], lost: int) -> None:
    ports = free_ports(3)
    processes = met([worker(one) for one in local_configs(ports)])
    processes.pop(lost).kill()
    line = f"trainer.task: lost worker {lost} (localhost:{ports[lost]}); start all workers again to continue\n"
    assert [outcome(process) for process in processes] == [(EXIT_RESTART, "", line)] * 2


@pytest.mark.parametrize("failing", [0, 1])
def test_a_worker_that_gives_up_tells_the_others_why(
    worker: Callable[..., subprocess.Popen[str]], failing: int
) -> None:
    ports = free_ports(3)
    processes = met([worker(one) for one in local_configs(ports)])
    assert outcome(processes.pop(failing), "fail\n") == (2, "", "trainer.task: error: no space left\n")
    line = f"trainer.task: worker {failing} (localhost:{ports[failing]}): error: no space left\n"
    assert [outcome(process) for process in processes] == [(2, "", line)] * 2


@pytest.mark.parametrize("failing", [[0], [1], [0, 1], [0, 1, 2]])
def test_a_worker_that_gives_up_before_the_meeting_keeps_nobody_waiting(
    worker: Callable[..., subprocess.Popen[str]], failing: list[int]
) -> None:
    ports = free_ports(3)
    told = {rank: ["error: --output o is in use"] if rank in failing else [] for rank in range(3)}
    # The first to fail is the first to run.
    order = sorted(range(3), key=lambda rank: rank not in failing)
    processes = {rank: worker(local_configs(ports)[rank], None, 10 * LIMIT_SECONDS, *told[rank]) for rank in order}
    for rank, process in processes.items():
        code, out, error = outcome(process)
        assert (code, out) == (2, "")
        if rank in failing:
            assert error == "trainer.task: error: --output o is in use\n"
        else:
            assert f"worker {failing[0]} (localhost:{ports[failing[0]]}): error: --output o is in use\n" in error


def test_missing_workers_are_named_after_the_time_out(worker: Callable[..., subprocess.Popen[str]]) -> None:
    ports = free_ports(3)
    present = [worker(one, timeout=2) for one in local_configs(ports)[:2]]
    for process in present:
        code, _, error = outcome(process)
        assert code == EXIT_RESTART
        assert f"no worker at localhost:{ports[2]} after 2 s (--peer_timeout); start all workers again\n" in error


def test_a_missing_chief_is_named_after_the_time_out(worker: Callable[..., subprocess.Popen[str]]) -> None:
    ports = free_ports(2)
    code, _, error = outcome(worker(local_configs(ports)[1], timeout=1))
    assert code == EXIT_RESTART
    assert error == (
        f"trainer.task: no chief at localhost:{ports[0]} after 1 s (--peer_timeout); start all workers again\n"
    )


def test_workers_that_were_told_different_things_stop(worker: Callable[..., subprocess.Popen[str]]) -> None:
    ports = free_ports(2)
    chief, other = (
        worker(one, {"dataset": "d", "seed": seed}) for one, seed in zip(local_configs(ports), (1, 2), strict=True)
    )
    line = f"--seed 2 on worker 1 (localhost:{ports[1]}), 1 on the chief: give all workers the same\n"
    assert outcome(chief) == (2, "", f"trainer.task: {line}")
    assert outcome(other) == (2, "", f"trainer.task: worker 0 (localhost:{ports[0]}): {line}")


def test_a_port_in_use_is_an_error(worker: Callable[..., subprocess.Popen[str]]) -> None:
    first = worker(local_configs(free_ports(1))[0])
    assert first.stdout is not None
    assert first.stdout.readline() == "met 1000000\n"
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, error = outcome(worker(local_configs([port, *free_ports(1)])[0]))
    assert code == 2
    assert f"TF_CONFIG: port {port} of localhost cannot be used here (" in error
