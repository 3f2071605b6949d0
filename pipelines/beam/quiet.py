"""Keep from the terminal what Beam says that no user can act on, and what a command says itself in one line."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import grpc
from apache_beam.runners.worker import sdk_worker

from pipelines.common.full_disk import DiskFullError

# Loggers through which Beam reports an error in a DoFn. Which of them do depends on the runner and on where its workers
# are. The root logger, the last, has what a job server sends to its client.
_REPORTERS = (
    "apache_beam.runners.common",
    "apache_beam.runners.portability.local_job_service",
    "apache_beam.runners.worker.sdk_worker",
    "PrismJobServer",
    "",
)
# Loggers whose warnings only tell that something starts or stops.
_STARTERS = ("apache_beam.runners.portability.local_job_service", "apache_beam.utils.subprocess_server")

_Hook = Callable[[threading.ExceptHookArgs], object]


def quiet_beam() -> None:
    """Suppress what Beam says of itself and no user can act on."""
    # It means that an optional import inside Beam failed, not that the named module is missing.
    noise = ("Resource module is not available",)
    logging.getLogger().addFilter(lambda record: not record.getMessage().startswith(noise))
    # Options that only a job server knows. What nobody knows has been refused (`runner.beam_options`).
    logging.getLogger("apache_beam.options.pipeline_options").addFilter(
        lambda record: not record.getMessage().startswith("Unparseable argument: ")
    )
    for name in _STARTERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger().addFilter(lambda record: not _is_said_by_command(record))
    # The worker also logs what it prints.
    sdk_worker.print = _say_nothing  # type: ignore[attr-defined]
    # A worker in this process loses its connections when the runner gives a job up. The command says how it ended.
    logging.getLogger("apache_beam.runners.worker.data_plane").addFilter(
        lambda record: not (record.exc_info and isinstance(record.exc_info[1], grpc.RpcError))
    )
    if not isinstance(threading.excepthook, _WithoutLostConnections):
        threading.excepthook = _WithoutLostConnections(threading.excepthook)


def _is_said_by_command(record: logging.LogRecord) -> bool:
    """Return whether a message is why an engine gave a job up. An error of our code comes with its traceback."""
    of_engine = record.module == "portable_runner" and record.levelno == logging.ERROR
    return of_engine and "Traceback" not in record.getMessage()


def quiet_error(*kinds: type[Exception]) -> None:
    """Keep Beam from reporting errors with their tracebacks, on whichever runner: the command says them in one line.

    Args:
        kinds: The types that a DoFn raises. Other processes report them by their names. A full disk is always one.
    """
    unsaid = _Unsaid((*kinds, DiskFullError))
    for name in _REPORTERS:
        logger = logging.getLogger(name)
        for earlier in [found for found in logger.filters if isinstance(found, _Unsaid)]:
            logger.removeFilter(earlier)
        logger.addFilter(unsaid)


class _Unsaid(logging.Filter):
    """Drops reports of some errors, and all that come after the first: bundles that the runner gave up with that one.

    Args:
        kinds: The types of the errors.
    """

    def __init__(self, kinds: tuple[type[Exception], ...]):
        super().__init__()
        self._kinds = kinds
        self._seen = False

    def filter(self, record: logging.LogRecord) -> bool:
        raised = record.exc_info[1] if record.exc_info else None
        said = record.getMessage()
        self._seen |= isinstance(raised, self._kinds) or any(kind.__name__ in said for kind in self._kinds)
        return not self._seen


def _say_nothing(*_: object, **__: object) -> None:
    pass


class _WithoutLostConnections:
    """Reports what ends a thread, unless that is a connection which is gone.

    Args:
        report: Reports all else.
    """

    def __init__(self, report: _Hook):
        self._report = report

    def __call__(self, ended: threading.ExceptHookArgs) -> None:
        if not isinstance(ended.exc_value, grpc.RpcError):
            self._report(ended)
