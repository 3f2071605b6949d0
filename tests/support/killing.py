"""Runs a command of ours and kills it (SIGKILL) at one exact moment."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


_KILLED = """
import os, signal, sys
from pipelines.common.cli import run_command
from tests.support.commands import entry_point

module, where, fragment = (sys.argv.pop(1) for _ in range(3))
call = getattr(os, where)

def killed(*arguments):
    if str(arguments[-1]).endswith(fragment):
        os.kill(os.getpid(), signal.SIGKILL)
    return call(*arguments)

setattr(os, where, killed)
run_command(module, entry_point(module), sys.argv[1:])
"""


def kill(module: str, where: str, fragment: str, *arguments: object) -> None:
    """Kill `python -m MODULE ARGUMENTS` before its first call of os.`where` on a path that ends with `fragment`."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, module, where, fragment, *map(str, arguments)],
        check=False,
        capture_output=True,
        cwd=ROOT,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
