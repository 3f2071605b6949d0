"""What the engines have in common: our workers, the options of a job, and a command that runs one until Ctrl-C."""

from __future__ import annotations

import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from deploy.engines.downloads import ENGINES, ROOT, DownloadError
from deploy.engines.processes import ServiceError, Services, free_ports, listens

# What stands for the machines of a cluster: addresses, each with a pool of our workers. Jobs name one pool, by a name
# that means its own to each machine, as `localhost` does where they are machines indeed.
MACHINES = {"workers-1": "127.0.0.2", "workers-2": "127.0.0.3"}
_POOL = "workers"


def _parallelism(slots: int) -> list[str]:
    return ["--parallelism", str(slots)]


@dataclass(frozen=True)
class Engine:
    """An engine that runs.

    Attributes:
        services: Its processes by name.
        page: Where it shows its jobs.
        options: With these our commands send a job to it.
        set_slots: Sees to it that the next job runs a number of tasks at once; returns what options that takes.
    """

    services: Services
    page: str
    options: list[str]
    set_slots: Callable[[int], list[str]] = _parallelism


def start_pool(
    services: Services, name: str, host: str, port: int, environment: Mapping[str, str] | None = None
) -> None:
    """Start a pool of our workers.

    Args:
        services: What it joins.
        name: What it is called there.
        host: Address of this machine to listen at.
        port: Port to listen at.
        environment: What the workers' environment has besides.
    """
    command = [sys.executable, "-m", "pipelines.beam.worker_pool", "--host", host, "--port", str(port)]
    services.start(name, command, lambda: listens(port, host), environment, ROOT)


def start_workers(services: Services, environment: Mapping[str, str] | None) -> list[str]:
    """Start the one pool of an engine, and return the options with which jobs use it.

    Args:
        services: What it joins, as `workers`.
        environment: What the workers' environment has besides.
    """
    (port,) = free_ports(1)
    start_pool(services, "workers", "localhost", port, environment)
    return worker_options(f"localhost:{port}")


def start_pools(services: Services, environment: Mapping[str, str] | None) -> list[str]:
    """Start a pool on each machine, and return the options with which jobs use them.

    Args:
        services: What they join, under the names of `MACHINES`.
        environment: What the workers' environment has besides.
    """
    (port,) = free_ports(1)
    for name, address in MACHINES.items():
        start_pool(services, name, address, port, environment)
    return worker_options(f"{_POOL}:{port}")


def names_on_machine(folder: Path, pool: str) -> str:
    """Return the option of Java with which a program finds the pool of its machine, and this machine.

    Args:
        folder: Where its file goes.
        pool: Name of the pool in `MACHINES`.
    """
    hosts = folder / f"{pool}.hosts"
    addresses = {"localhost": "127.0.0.1", socket.gethostname(): "127.0.0.1", _POOL: MACHINES[pool]}
    hosts.write_text("".join(f"{address} {host}\n" for host, address in addresses.items()))
    return f"-Djdk.net.hosts.file={hosts}"


def worker_options(pool: str) -> list[str]:
    """Return the options with which jobs take their workers from the pool at an address."""
    return ["--environment_type", "EXTERNAL", "--environment_config", pool]


def serve(name: str, running: Callable[[Path], AbstractContextManager[Engine]]) -> int:
    """Run an engine until Ctrl-C or SIGTERM, and say how to use it.

    Args:
        name: Of the engine.
        running: Runs it in a new folder as long as a `with` block.

    Returns:
        The exit code: 0, or 2 if it cannot be downloaded or does not start.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ENGINES.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-run-", dir=ENGINES))
    try:
        with running(folder) as engine:
            print(
                f"jobs: {engine.page}\nlogs: {folder}\noptions: {' '.join(engine.options)}\nCtrl-C stops it", flush=True
            )
            signal.pause()
    except KeyboardInterrupt:
        pass
    except (DownloadError, ServiceError) as error:
        print(f"deploy.engines.{name}: error: {error}", file=sys.stderr)
        return 2
    return 0
