"""Runs a command of ours and stops or kills it at one exact moment."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


_STRUCK = """
import os, sys
from pipelines.common.cli import run_command
from tests.support.commands import entry_point

number, module, where, fragment = (sys.argv.pop(1) for _ in range(4))
call = getattr(os, where)

def struck(*arguments, **options):
    if str(arguments[-1]).endswith(fragment):
        setattr(os, where, call)
        os.kill(os.getpid(), int(number))
    return call(*arguments, **options)

setattr(os, where, struck)
run_command(module, entry_point(module), sys.argv[1:])
"""


def _command(
    number: signal.Signals, module: str, where: str, fragment: str, arguments: tuple[object, ...]
) -> list[str]:
    return [sys.executable, "-c", _STRUCK, str(int(number)), module, where, fragment, *map(str, arguments)]


def kill(module: str, where: str, fragment: str, *arguments: object) -> None:
    """Kill `python -m MODULE ARGUMENTS` before its first call of os.`where` on a path that ends with `fragment`."""
    command = _command(signal.SIGKILL, module, where, fragment, arguments)
    done = subprocess.run(command, check=False, capture_output=True, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@contextlib.contextmanager
def stopped(module: str, where: str, fragment: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Stop a command at the moment at which `kill` would kill it; gives its process, which ends with the block."""
    command = _command(signal.SIGSTOP, module, where, fragment, arguments)
    with running(command) as process:
        wait_until_stopped(process)
        yield process


@contextlib.contextmanager
def running(command: list[str], env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run a command; it is killed at the end of the block if it has not ended."""
    environment = {**os.environ, **(env or {})}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until_stopped(process: subprocess.Popen[str]) -> None:
    """Wait until a process has been stopped by a signal."""
    found = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    assert found is not None
    assert found.si_code == os.CLD_STOPPED, process.communicate()


def go_on(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Let a stopped command run to its end; gives exit code and stderr."""
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate()
    return process.returncode, said
