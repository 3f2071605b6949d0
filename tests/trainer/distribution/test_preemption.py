"""SIGTERM before the first step ends a run at once; after it the run is asked to end."""

from __future__ import annotations

import signal
import subprocess
import sys

from pipelines.common.cli import EXIT_RESTART
from tests.support.tiny_dataset import ROOT

PROGRAM = """
import os, signal
from pipelines.common import console
from trainer.distribution.preemption import Preemption
console.begin("trainer.task")
preemption = Preemption()
preemption.install()
{before}
os.kill(os.getpid(), signal.SIGTERM)
print("requested", preemption.requested, flush=True)
"""


def run(before: str = "") -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(before=before)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)


def test_before_the_first_step_there_is_nothing_to_save() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (EXIT_RESTART, "")
    assert done.stderr == "trainer.task: SIGTERM before the first step; the same command starts again\n"


def test_later_the_signal_is_only_noted() -> None:
    done = run("preemption.defer()")
    assert (done.returncode, done.stdout, done.stderr) == (0, "requested True\n", "")


def test_a_handler_that_something_else_installed_is_taken_back() -> None:
    done = run("signal.signal(signal.SIGTERM, signal.SIG_IGN); preemption.defer()")
    assert (done.returncode, done.stdout) == (0, "requested True\n")


def test_a_run_to_start_again_has_a_code_of_its_own() -> None:
    assert EXIT_RESTART == 75
    assert EXIT_RESTART not in (0, 1, 2, 128 + signal.SIGTERM)
