"""How commands end: errors, exit codes, signals. Imports no Beam or TensorFlow."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from pipelines.common import console
from pipelines.common.full_disk import disk_full

EXIT_OK = 0
EXIT_LIMIT = 1
EXIT_USAGE = 2
EXIT_FAILURE = 3
# EX_TEMPFAIL of sysexits.h.
EXIT_RESTART = os.EX_TEMPFAIL
# Shells report 128 plus the signal number for a program ended by a signal; SIGPIPE is 13.
EXIT_SIGNAL = 128
EXIT_BROKEN_PIPE = 141
# What the codes mean, in every command and on every page.
EXIT_CODES = {
    EXIT_OK: "done, or nothing to do",
    EXIT_LIMIT: "done, but a limit that was set is exceeded or a check failed",
    EXIT_USAGE: "wrong use, or another run has the output: one line says what; nothing is written",
    EXIT_FAILURE: "failed: one line if a disk is full or an engine gave up, else a traceback",
    EXIT_RESTART: "training only: told to end, or a worker is lost; the same command continues",
    EXIT_SIGNAL + signal.SIGINT: "interrupted (Ctrl-C); the same command starts again, or continues a training",
    EXIT_SIGNAL + signal.SIGTERM: "ended by SIGTERM (in training: 75); the same command starts again",
}


class UsageError(Exception):
    """A mistake by the user; the message is one line that names the option, its value and the fix."""


class LimitExceeded(Exception):
    """A limit set by the user that is exceeded, although the work is done and written."""


class CheckFailed(Exception):
    """A failed check; the message is one line that names the first difference."""


class RunnerFailed(Exception):
    """A job that what runs it gave up, for no error of ours; the message is one line that says what to do."""


def first_line(error: BaseException) -> str:
    """Return an error's first line, or its type if it has no message, for use inside a UsageError."""
    return (str(error) or type(error).__name__).splitlines()[0][:200]


# How the user called the command, if not by its module.
_called: list[str] = []


def call_command(name: str) -> None:
    """Have messages and help of the command that runs next name it so: `isic-lesions prepare`."""
    _called[:] = [name]


def called_as(default: str) -> str:
    """Return what the running command is called in messages and help.

    Args:
        default: Its name if it was started by its module.
    """
    return _called[0] if _called else default


def require_job_limits(max_reject_fraction: float, threads: int) -> None:
    """Raise UsageError unless the two options that all Beam jobs share have possible values.

    Args:
        max_reject_fraction: Value of --max_reject_fraction, from 0 to 1.
        threads: Value of --threads, 0 or more.
    """
    if not 0.0 <= max_reject_fraction <= 1.0:
        raise UsageError(f"--max_reject_fraction {max_reject_fraction:g}: a number from 0 to 1 is needed")
    if threads < 0:
        raise UsageError(f"--threads {threads}: 0 or more is needed")


def _stop_on_signals() -> list[int]:
    """Make SIGTERM, which schedulers send, end the work as SIGINT does: stop workers, delete temporary files.

    Returns:
        A list to which received signal numbers are appended. It is needed because libraries may replace the
        KeyboardInterrupt by an exception of their own.
    """
    received: list[int] = []

    def stop(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, stop)
    return received


def _require_utf8() -> None:
    """Raise UsageError if file names are not read as UTF-8: most would be refused, and others be named wrongly."""
    encoding = sys.getfilesystemencoding()
    if encoding.lower() != "utf-8":
        names = ("PYTHONUTF8", "LC_ALL", "LC_CTYPE", "LANG")
        given = " ".join(f"{name}={os.environ[name]}" for name in names if os.environ.get(name))
        raise UsageError(f"{given}: file names are read as {encoding}; set PYTHONUTF8=1, or LC_ALL to a UTF-8 locale")


def run_command(
    prog: str, main: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None
) -> NoReturn:
    """Run a command and exit with the code for its outcome; report errors as a single line on stderr.

    An unexpected exception prints its traceback instead.

    Args:
        prog: Name of the command, for messages.
        main: The command; None as its result means success.
        argv: The arguments for `main`; None takes those of the process.
    """
    console.begin(called_as(prog))
    received = _stop_on_signals()
    try:
        _require_utf8()
        code = main(argv) or EXIT_OK
    except UsageError as error:
        console.say(str(error), "error")
        code = EXIT_USAGE
    except (LimitExceeded, CheckFailed) as error:
        console.say(str(error))
        code = EXIT_LIMIT
    except RunnerFailed as error:
        console.say(str(error))
        code = EXIT_FAILURE
    except BrokenPipeError:
        # The reader of our output is gone. What Python still buffers must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = EXIT_BROKEN_PIPE
    except (KeyboardInterrupt, Exception) as error:
        if received or isinstance(error, KeyboardInterrupt):
            console.say("interrupted; the same command starts again")
            code = EXIT_SIGNAL + (received or [signal.SIGINT])[0]
        elif full := disk_full(error):
            console.say(str(full))
            code = EXIT_FAILURE
        else:
            console.say_traceback(error)
            code = EXIT_FAILURE
    finally:
        console.begin("")
        # A program that ran a tf.Transform analysis segfaults at interpreter exit: a protobuf (upb) object
        # is freed after its module. Objects in the permanent generation are not freed at exit.
        gc.freeze()
    sys.stdout.flush()
    sys.exit(code)
