"""What every command line of the project shares. Imports neither Beam nor TensorFlow.

Exit codes: 0 done or nothing to do, 1 finished but beyond a limit the user set or a check failed, 2 wrong use,
3 a failure of ours (with its traceback), 130 interrupted, 143 asked to end (SIGTERM).
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

EXIT_OK = 0
EXIT_LIMIT = 1
EXIT_USAGE = 2
EXIT_FAILURE = 3
# What a shell reports of a program that a signal ended: this and the signal's number; SIGPIPE has 13.
EXIT_SIGNAL = 128
EXIT_BROKEN_PIPE = 141


class UsageError(Exception):
    """A mistake of the user's: one line that names the option, its value and the way out."""


class LimitExceeded(Exception):
    """The work is done and written, but a limit that the user set is exceeded."""


class CheckFailed(Exception):
    """What was to be checked is not as it should be: one line that names the first difference."""


def first_line(error: BaseException) -> str:
    """What went wrong, for the middle of a UsageError: the error's first line, or what kind it is."""
    return (str(error) or type(error).__name__).splitlines()[0][:200]


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, except where there is none to show, and keeps the lines of descriptions."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.default in ("", []):
            return action.help
        return super()._get_help_string(action)


class ArgumentParser(argparse.ArgumentParser):
    """argparse with our error format: one line on stderr, exit code 2, no usage dump."""

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("formatter_class", HelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def require_job_limits(max_reject_fraction: float, threads: int) -> None:
    """Raise UsageError unless the two options that every Beam job has are possible."""
    if not 0.0 <= max_reject_fraction <= 1.0:
        raise UsageError(f"--max_reject_fraction {max_reject_fraction:g}: a number from 0 to 1 is needed")
    if threads < 0:
        raise UsageError(f"--threads {threads}: 0 or more is needed")


@contextlib.contextmanager
def _captured_stderr() -> Iterator[None]:
    """Hold back what native code writes to file descriptor 2; show it after all if an exception passes."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(saved, 2)
            held.seek(0)
            shutil.copyfileobj(held, sys.stderr.buffer)
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def start_tensorflow() -> None:
    """Import TensorFlow without its start-up chatter, which no setting silences and which hides our own lines.

    Call it once the command line is known to be right: the import takes seconds.
    """
    # 3: what goes wrong reaches us as an exception; libjpeg's remark about each bad image does not say which.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _captured_stderr():
        import tensorflow as tf

        # Looking for a GPU complains on a machine that has none.
        tf.config.list_physical_devices()
    logging.getLogger("absl").setLevel(logging.ERROR)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _stop_on_signals() -> list[int]:
    """Let SIGTERM, as a scheduler sends it, end the work as SIGINT does: workers stop, temporary files go.

    Gives a list to which those are added that come: of the exception, libraries may make another one.
    """
    received: list[int] = []

    def stop(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, stop)
    return received


def run_command(
    prog: str, main: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None
) -> NoReturn:
    """Run `main`, turn its outcome into an exit code and a single line on stderr, and exit."""
    received = _stop_on_signals()
    try:
        code = main(argv) or EXIT_OK
    except UsageError as error:
        print(f"{prog}: error: {error}", file=sys.stderr)
        code = EXIT_USAGE
    except (LimitExceeded, CheckFailed) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        code = EXIT_LIMIT
    except BrokenPipeError:
        # Whoever read our output has gone; what Python still holds for it must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = EXIT_BROKEN_PIPE
    except (KeyboardInterrupt, Exception) as error:
        if received or isinstance(error, KeyboardInterrupt):
            print(f"{prog}: interrupted; the same command starts again", file=sys.stderr)
            code = EXIT_SIGNAL + (received or [signal.SIGINT])[0]
        else:
            traceback.print_exc()
            code = EXIT_FAILURE
    finally:
        # A program that ran a tf.Transform analysis segfaults at interpreter exit: a protobuf (upb) object
        # is freed after its module. Objects moved to the permanent generation are not freed at exit.
        gc.freeze()
    sys.stdout.flush()
    sys.exit(code)
