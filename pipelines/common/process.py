"""Name a process so that another one can tell later whether it still runs: number, start, machine."""

from __future__ import annotations

import os
import socket
import sys
from typing import NamedTuple

# Where Linux says what runs. Elsewhere only the number counts.
_PROC = "/proc"


class Process(NamedTuple):
    """One process, of all that ever were."""

    host: str
    boot: str  # of the machine's system; empty if not known
    number_space: str  # within which numbers name processes: that of a container, or of the machine
    number: int
    started: str  # when, in the system's own unit: numbers are used again


def this_process() -> Process:
    """Return the name of the present process."""
    number = os.getpid()
    return Process(socket.gethostname(), _boot(), _number_space(), number, _state_and_start(number)[1])


def is_gone(process: Process, last_seen: float) -> bool | None:
    """Return whether a process has ended, or None if that cannot be known from here.

    Args:
        process: The process.
        last_seen: When it last gave a sign of life, in seconds since the epoch.
    """
    if (process.boot, process.number_space) == (_boot(), _number_space()) and (process.boot or _is_here(process)):
        return not _runs(process)
    if _is_here(process) and process.boot != _boot() and last_seen < _boot_time():
        return True
    return None


def program() -> str:
    """Return what this process runs, without its arguments, which may hold secrets."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec else os.path.basename(sys.argv[0])


def _is_here(process: Process) -> bool:
    return process.host == socket.gethostname()


def _runs(process: Process) -> bool:
    try:
        os.kill(process.number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    state, started = _state_and_start(process.number)
    # Z, X: it has ended, and whoever started it has not asked how.
    return state not in ("Z", "X") and started == process.started


def _read(*parts: str) -> str:
    try:
        with open(os.path.join(_PROC, *parts), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _state_and_start(number: int) -> tuple[str, str]:
    # The name of the program, in brackets, may hold anything.
    fields = _read(str(number), "stat").rpartition(")")[2].split()
    return (fields[0], fields[19]) if len(fields) > 19 else ("", "")


def _boot() -> str:
    return _read("sys", "kernel", "random", "boot_id").strip()


def _boot_time() -> float:
    times = (line.split()[1] for line in _read("stat").splitlines() if line.startswith("btime "))
    return float(next(times, 0))


def _number_space() -> str:
    try:
        return os.readlink(os.path.join(_PROC, "self", "ns", "pid"))
    except OSError:
        return ""
