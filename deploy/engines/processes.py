"""Start the services of an engine on this machine, wait until they answer, and stop them together."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

# Seconds. A JVM takes two to be ready on a quiet machine, and ten on a busy one.
_START = 180
_STOP = 20
# Seconds between two looks at a service that starts.
_LOOK = 0.1


class ServiceError(RuntimeError):
    """A service did not start; the message is one line with the end of its log."""


def free_ports(count: int) -> list[int]:
    """Find ports of localhost that nothing listens on, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for found in sockets:
            found.bind(("localhost", 0))
        return [found.getsockname()[1] for found in sockets]


def listens(port: int, host: str = "localhost") -> bool:
    """Tell whether a service of this machine accepts connections."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def get_json(url: str) -> Any:
    """Read a JSON document of a service.

    Raises:
        OSError: The service does not answer, or refuses.
    """
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


class Services:
    """Services that run as long as the `with` block; each writes `NAME.log` in the folder.

    Each is the leader of a process group and is stopped with it, the last one first. They stop too if this process is
    killed.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._starts: dict[str, Callable[[], None]] = {}

    def __enter__(self) -> Services:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in reversed(list(self._running)):
            self.stop(name)

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        """Start a service and wait until it is ready.

        Args:
            name: What it is called here, and its log.
            command: Program and arguments. The program stays the service's own process: scripts end with `exec`.
            ready: Tells whether it can be used.
            environment: What to add to the environment.
            folder: Where it runs; where this process does if None.

        Raises:
            ServiceError: It ended, or was not ready in time.
        """
        self._starts[name] = lambda: self.start(name, command, ready, environment, folder)
        # The kernel ends the service when this process is gone, however that comes.
        line = ["setpriv", "--pdeathsig", "TERM", *map(str, command)]
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self._running[name] = process
        until = time.monotonic() + _START
        while not ready():
            try:
                code = process.wait(_LOOK)
            except subprocess.TimeoutExpired:
                if time.monotonic() > until:
                    raise ServiceError(f"{name} was not ready after {_START} s; {self._last_line(name)}") from None
            else:
                raise ServiceError(f"{name} ended with code {code}; {self._last_line(name)}")

    def start_again(self, name: str) -> None:
        """Start a service that has been stopped, as it was started, and wait until it is ready.

        Raises:
            ServiceError: It ended, or was not ready in time.
        """
        self._starts[name]()

    def log(self, name: str) -> Path:
        """Return the file that a service writes."""
        return self._folder / f"{name}.log"

    def pid(self, name: str) -> int:
        """Return the process of a service."""
        return self._running[name].pid

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop a service and all that it has started, and wait for its end.

        Args:
            name: What it was started as.
            how: The signal that is sent first; SIGKILL follows if it does not end.
        """
        process = self._running.pop(name)
        _signal(process, how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP)
        # Also what a service has left behind.
        _signal(process, signal.SIGKILL)
        process.wait()

    def _last_line(self, name: str) -> str:
        log = self.log(name)
        lines = log.read_text(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")
        return f"see {log}, which ends with: {last[:300]}"


def _signal(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, how)
