"""TF_CONFIG, the meeting of workers and their watch over each other, and the local launcher. Needs no TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from pipelines.common.cli import UsageError
from tests.support.tiny_dataset import ROOT
from trainer.distribution.cluster import Cluster, read_cluster, split_address
from trainer.distribution.local_cluster import free_ports, local_configs, run_workers
from trainer.distribution.preemption import EXIT_RESTART

LIMIT_SECONDS = 60


def config(task=("worker", 0), **cluster):
    return json.dumps({"cluster": cluster, "task": {"type": task[0], "index": task[1]}, "environment": "cloud"})


def read(text):
    return read_cluster({"TF_CONFIG": text})


def test_workers_are_ranked_chief_first():
    assert read_cluster({}) is None
    assert read("") is None
    assert read("{}") is None
    workers = ["b:1", "c:2"]
    assert read(config(("worker", 1), worker=workers)) == Cluster(("b:1", "c:2"), 1)
    assert read(config(("worker", 1), chief=["a:9"], worker=workers)) == Cluster(("a:9", "b:1", "c:2"), 2)
    chief = read(config(("chief", 0), worker=workers, chief=["a:9"]))
    assert (chief.rank, chief.size, chief.is_chief) == (0, 3, True)
    assert read(config(("worker", "1"), worker=workers)).name(1) == "worker 1 (c:2)"
    assert read(config(worker=["a:1"])).size == 1
    assert split_address("[::1]:80") == ("::1", 80)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[1]", 'has no "cluster"'),
        ('{"task": {"type": "worker", "index": 0}}', 'has no "cluster"'),
        ('{"cluster": {"worker": ["a:1"]}}', 'has no "task"'),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker"}}', 'has no "task"'),
        (config(worker=[]), '"worker" is not a list of addresses'),
        (config(worker="a:1"), '"worker" is not a list of addresses'),
        (config(worker=["a"]), "address 'a' is not host:port"),
        (config(worker=["a:0"]), "address 'a:0' is not host:port"),
        (config(worker=["a:70000"]), "address 'a:70000' is not host:port"),
        (config(worker=["a:1", "a:1"]), "names a:1 twice"),
        (config(chief=["a:1", "b:1"], worker=["c:1"]), "has 2 chiefs"),
        (config(("worker", 2), worker=["a:1", "b:1"]), "task index 2 is not from 0 to 1"),
        (config(("worker", -1), worker=["a:1"]), "task index -1"),
        (config(("worker", None), worker=["a:1"]), "task index None"),
        (config(("chief", 0), worker=["a:1"]), "says this is a 'chief', of which its cluster has none"),
        (config(("worker", 0), worker=["a:1"], ps=["b:1"]), "names tasks of type 'ps'; this program knows chief and"),
    ],
)
def test_a_wrong_tf_config_is_explained(text, says):
    with pytest.raises(UsageError) as caught:
        read(text)
    assert str(caught.value).startswith("TF_CONFIG ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


# A worker that does what trainer.task does around training; "work" lasts until stdin says how it ends.
WORKER = """
import json, sys
from pipelines.common.cli import UsageError
from trainer.distribution.cluster import read_cluster
from trainer.distribution.coordination import WorkerConnections
from trainer.distribution.preemption import RestartError, exit_process
connections = WorkerConnections(read_cluster())
try:
    connections.connect(json.loads(sys.argv[1]), float(sys.argv[2]))
except RestartError as error:
    exit_process(str(error), 75)
except UsageError as error:
    exit_process(str(error), 2)
state = connections.broadcast(b"checkpoint" * 100_000 if connections.cluster.is_chief else None)
print("met", len(state), flush=True)
if sys.stdin.readline() == "fail\\n":
    connections.broadcast_failure("error: no space left", 2)
    exit_process("error: no space left", 2)
connections.disconnect()
print("parted", flush=True)
"""


@pytest.fixture
def worker():
    """Starts a worker; whatever is left of them at the end is killed."""
    processes = []

    def start(tf_config, told=None, timeout=LIMIT_SECONDS):
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, json.dumps(told or {}), str(timeout)],
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


def outcome(process, say=None):
    out, error = process.communicate(say, timeout=LIMIT_SECONDS)
    return process.returncode, out, error


def met(processes):
    for process in processes:
        assert process.stdout.readline() == "met 1000000\n"
    return processes


def test_workers_meet_share_and_part(worker):
    processes = met([worker(one, {"seed": 3}) for one in local_configs(free_ports(3))])
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [outcome(process) for process in processes] == [(0, "parted\n", "")] * 3


@pytest.mark.parametrize("lost", [0, 2])
def test_a_killed_worker_ends_all_others(worker, lost):
    ports = free_ports(3)
    processes = met([worker(one) for one in local_configs(ports)])
    processes.pop(lost).kill()
    line = f"trainer.task: lost worker {lost} (localhost:{ports[lost]}); start all workers again to continue\n"
    assert [outcome(process) for process in processes] == [(EXIT_RESTART, "", line)] * 2


@pytest.mark.parametrize("failing", [0, 1])
def test_a_worker_that_gives_up_tells_the_others_why(worker, failing):
    ports = free_ports(3)
    processes = met([worker(one) for one in local_configs(ports)])
    assert outcome(processes.pop(failing), "fail\n") == (2, "", "trainer.task: error: no space left\n")
    line = f"trainer.task: worker {failing} (localhost:{ports[failing]}): error: no space left\n"
    assert [outcome(process) for process in processes] == [(2, "", line)] * 2


def test_missing_workers_are_named_after_the_time_out(worker):
    ports = free_ports(3)
    present = [worker(one, timeout=2) for one in local_configs(ports)[:2]]
    for process in present:
        code, _, error = outcome(process)
        assert code == EXIT_RESTART
        assert f"no worker at localhost:{ports[2]} after 2 s (--peer_timeout); start all workers again\n" in error


def test_a_missing_chief_is_named_after_the_time_out(worker):
    ports = free_ports(2)
    code, _, error = outcome(worker(local_configs(ports)[1], timeout=1))
    assert code == EXIT_RESTART
    assert error == (
        f"trainer.task: no chief at localhost:{ports[0]} after 1 s (--peer_timeout); start all workers again\n"
    )


def test_workers_that_were_told_different_things_stop(worker):
    ports = free_ports(2)
    chief, other = (
        worker(one, {"dataset": "d", "seed": seed}) for one, seed in zip(local_configs(ports), (1, 2), strict=True)
    )
    line = f"--seed 2 on worker 1 (localhost:{ports[1]}), 1 on the chief: give all workers the same\n"
    assert outcome(chief) == (2, "", f"trainer.task: {line}")
    assert outcome(other) == (2, "", f"trainer.task: worker 0 (localhost:{ports[0]}): {line}")


def test_a_port_in_use_is_an_error(worker):
    first = worker(local_configs(free_ports(1))[0])
    assert first.stdout.readline() == "met 1000000\n"
    import socket

    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, error = outcome(worker(local_configs([port, *free_ports(1)])[0]))
    assert code == 2
    assert f"TF_CONFIG: port {port} of localhost cannot be used here (" in error


def test_local_configs_are_tf_config():
    clusters = [read(one) for one in local_configs([5000, 5001])]
    assert [cluster.rank for cluster in clusters] == [0, 1]
    assert clusters[0].addresses == ("localhost:5000", "localhost:5001")


def test_the_first_failure_ends_all_and_is_the_exit_code(capfd):
    forever = "import signal; print('waiting', flush=True); signal.pause()"
    fails = "import sys; print('oh', file=sys.stderr); sys.exit(7)"
    assert run_workers([[sys.executable, "-c", code] for code in (forever, fails)], [{}, {}]) == 7
    assert "[1] oh\n" in capfd.readouterr().err
    greets = "import os; print('hello', os.environ['WHO'])"
    assert run_workers([[sys.executable, "-c", greets]] * 2, [{"WHO": "a"}, {"WHO": "b"}]) == 0
    assert sorted(capfd.readouterr().out.splitlines()) == ["[0] hello a", "[1] hello b"]


def test_the_launcher_passes_on_what_the_trainer_says(tmp_path):
    arguments = ["--workers", "2", "--", f"--dataset={tmp_path / 'none'}", f"--output={tmp_path / 'out'}"]
    done = subprocess.run(
        [sys.executable, "-m", "trainer.distribution.local_cluster", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 2
    assert f"trainer.task: error: --dataset {tmp_path / 'none'}: no such directory" in done.stderr
    assert {line[:4] for line in done.stderr.splitlines()} <= {"[0] ", "[1] "}
    nothing = subprocess.run(
        [sys.executable, "-m", "trainer.distribution.local_cluster"], capture_output=True, text=True, cwd=ROOT
    )
    assert nothing.returncode == 2
    assert "no arguments for trainer.task" in nothing.stderr
