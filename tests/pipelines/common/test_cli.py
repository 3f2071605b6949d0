"""How a command ends: interrupted, by a user or by a scheduler."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from pipelines.common.cli import (
    CheckFailed,
    LimitExceeded,
    RunnerFailed,
    UsageError,
    first_line,
    require_job_limits,
    run_command,
)
from tests.support.commands import Command
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
def test_a_signal_ends_the_command_in_one_line_and_lets_it_clean_up(number: signal.Signals, through: str) -> None:
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


@pytest.fixture
def _same_signals() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def raising(error: BaseException) -> Callable[[Sequence[str] | None], int | None]:
    def main(_: Sequence[str] | None) -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "code", "says"),
    [
        (lambda _: None, 0, ""),
        (lambda _: 1, 1, ""),
        (raising(UsageError("--seed x: a number is needed")), 2, "prog: error: --seed x: a number is needed\n"),
        (raising(LimitExceeded("3 of 4 files rejected")), 1, "prog: 3 of 4 files rejected\n"),
        (raising(CheckFailed("train-0: is missing")), 1, "prog: train-0: is missing\n"),
        (raising(RunnerFailed("job 1: FAILED")), 3, "prog: job 1: FAILED\n"),
        (raising(KeyboardInterrupt()), 130, "prog: interrupted; the same command starts again\n"),
    ],
)
@pytest.mark.usefixtures("_same_signals")
def test_a_command_ends_with_the_code_and_the_line_of_its_outcome(
    capsys: pytest.CaptureFixture[str], main: Callable[..., Any], code: int, says: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command("prog", main, [])
    assert ended.value.code == code
    assert capsys.readouterr().err == says


@pytest.mark.usefixtures("_same_signals")
def test_a_failure_of_ours_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command("prog", raising(ZeroDivisionError("of ours")), [])
    assert ended.value.code == 3
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert said.endswith("ZeroDivisionError: of ours\n")


def test_the_first_line_of_an_error_is_never_empty() -> None:
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError("")) == "ValueError"
    assert len(first_line(ValueError("x" * 999))) == 200


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_reject_fraction_beyond_its_range_is_refused(fraction: float) -> None:
    require_job_limits(0.0, 0)
    require_job_limits(1.0, 4)
    with pytest.raises(UsageError, match="--max_reject_fraction"):
        require_job_limits(fraction, 0)


@pytest.mark.parametrize("settings", [{"PYTHONUTF8": "0", "LC_ALL": "C"}, {"PYTHONUTF8": "0", "LC_ALL": "POSIX"}])
def test_a_locale_that_is_not_utf8_is_named(process: Command, settings: dict[str, str]) -> None:
    done = process("pipelines.demo.run_summary", "run", env=settings)
    assert done.returncode == 2
    given = " ".join(f"{name}={value}" for name, value in settings.items())
    assert done.stderr.startswith(f"pipelines.demo.run_summary: error: {given}")
    assert ": file names are read as " in done.stderr
    assert done.stderr.endswith("; set PYTHONUTF8=1, or LC_ALL to a UTF-8 locale\n")
