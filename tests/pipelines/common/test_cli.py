"""How a command ends: interrupted, by a user or by a scheduler."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.support.killing import ROOT

STOPPED = """
import os, signal, sys
from pipelines.common.cli import run_command

# A shell's background jobs start with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

def main(argv):
    try:
        os.kill(os.getpid(), int(sys.argv[1]))
        signal.pause()
    except KeyboardInterrupt as error:
        if sys.argv[2] == "library":
            raise RuntimeError("while running a step") from error
        raise
    finally:
        print("cleaned up")

run_command("command", main)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("through", ["itself", "library"])
def test_a_signal_ends_the_command_in_one_line_and_lets_it_clean_up(number, through):
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, str(int(number)), through],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 128 + number
    assert done.stderr == "command: interrupted; the same command starts again\n"
    assert done.stdout == "cleaned up\n"
