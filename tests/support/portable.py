"""Beam's portable job server and our pool of workers beside it, each a process of its own, for tests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc

# Seconds until a service must have begun to listen; it takes some five.
_START = 120


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def _serving(
    folder: Path, log: Path, environment: Mapping[str, str], module: str, port_option: str, port: int
) -> Iterator[None]:
    """A service in a process group of its own, stopped with all that it has started."""
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", module, port_option, str(port)],
            cwd=folder,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, **environment},
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


@contextlib.contextmanager
def job_server(folder: Path, logs: Path, environment: Mapping[str, str] | None = None) -> Iterator[list[str]]:
    """A job server with a worker pool, both run in `folder`; gives the options with which Beam uses them.

    In `logs` they leave jobs.log and workers.log.
    """
    job_port, worker_port = _free_port(), _free_port()
    jobs = ("apache_beam.runners.portability.local_job_service_main", "--port", job_port)
    workers = ("pipelines.beam.worker_pool", "--port", worker_port)
    with (
        _serving(folder, logs / "jobs.log", environment or {}, *jobs),
        _serving(folder, logs / "workers.log", environment or {}, *workers),
    ):
        # A job sent to a pool that does not listen yet fails.
        for port in (job_port, worker_port):
            with grpc.insecure_channel(f"localhost:{port}") as channel:
                grpc.channel_ready_future(channel).result(timeout=_START)
        yield [
            *("--runner", "PortableRunner", "--job_endpoint", f"localhost:{job_port}"),
            *("--environment_type", "EXTERNAL", "--environment_config", f"localhost:{worker_port}"),
        ]
