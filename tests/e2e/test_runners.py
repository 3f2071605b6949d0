"""The same bytes from every way of running: in memory, in processes, on a job server with workers of their own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WAYS = {
    "three processes": ("--direct_running_mode", "multi_processing", "--direct_num_workers", "3"),
    "portable": ("--runner", "PortableRunner", "--environment_type", "EXTERNAL"),
}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def serving(module: str, *arguments: str, log: Path) -> Iterator[None]:
    """A Beam service in a process group of its own, stopped with all that it has started."""
    # The pool starts its workers as `python`.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env=environment,
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def prepare(command, sample, output, *more):
    done = command(
        *("pipelines.prepare", "--input", sample / "images", "--metadata", sample / "metadata.csv"),
        *("--output", output, "--image_size", 32, *more),
    )
    assert done.returncode == 0, done.stderr
    names = ("*.tfrecord", "manifest-*", "rejects-*", "known-*", "dataset.json", "report.*")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for name in names for path in output.glob(name)}


@pytest.fixture(scope="module")
def in_memory(command, sample, tmp_path_factory):
    return prepare(command, sample, tmp_path_factory.mktemp("memory") / "out")


@pytest.mark.parametrize("way", WAYS)
def test_promise_3_the_same_bytes_on(command, sample, in_memory, tmp_path, way):
    assert len(in_memory) > 8
    more = list(WAYS[way])
    with contextlib.ExitStack() as services:
        if way == "portable":
            job_port, worker_port = free_port(), free_port()
            services.enter_context(
                serving(
                    *("apache_beam.runners.portability.local_job_service_main", "--port", str(job_port)),
                    log=tmp_path / "jobs.log",
                )
            )
            services.enter_context(
                serving(
                    *("apache_beam.runners.worker.worker_pool_main", "--service_port", str(worker_port)),
                    log=tmp_path / "workers.log",
                )
            )
            more += ["--job_endpoint", f"localhost:{job_port}", "--environment_config", f"localhost:{worker_port}"]
        assert prepare(command, sample, tmp_path / "out", *more) == in_memory
    if way == "portable":
        assert "worker" in (tmp_path / "workers.log").read_text()
