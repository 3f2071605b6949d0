"""An error that a command says in one line is reported by none of Beam's loggers, all others are."""

from __future__ import annotations

import logging
import threading

import apache_beam as beam
import grpc
import pytest
from apache_beam.runners.worker import sdk_worker

from pipelines.beam.quiet import quiet_beam, quiet_error
from pipelines.beam.runner import beam_options


class SaidError(Exception):
    pass


@pytest.mark.parametrize("name", ["", "apache_beam.runners.common", "apache_beam.runners.worker.sdk_worker"])
@pytest.mark.parametrize("by_name", [True, False])
def test_an_error_of_the_kind_and_what_follows_from_it_are_not_logged(
    name: str, by_name: bool, caplog: pytest.LogCaptureFixture
) -> None:
    quiet_error(SaidError)
    logger = logging.getLogger(name)
    logger.error("failed", exc_info=ValueError("another"))
    if by_name:
        logger.error("bundle failed: Traceback ... tests.SaidError: --classes: no usable image")
    else:
        logger.error("failed", exc_info=SaidError("--classes"))
    logging.getLogger("PrismJobServer").error("stage aborted")
    assert [str(record.exc_info and record.exc_info[1]) for record in caplog.records] == ["another"]
    # The next job begins anew.
    quiet_error(SaidError)
    logger.error("failed again")
    assert caplog.records[-1].getMessage() == "failed again"


def test_a_connection_that_a_thread_loses_is_not_reported_and_another_error_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    quiet_beam()
    for error in (grpc.RpcError("worker not registered"), ValueError("another")):

        def fail(error: Exception = error) -> None:
            raise error

        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    said = capsys.readouterr().err
    assert "ValueError: another" in said
    assert "not registered" not in said


@pytest.mark.parametrize(("reason", "is_logged"), [("no longer reachable", False), ("Traceback ... KeyError", True)])
def test_why_an_engine_gave_a_job_up_is_logged_only_if_it_was_an_error_of_a_worker(
    reason: str, is_logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    quiet_beam()
    message = ("root", logging.ERROR, "portable_runner.py", 1, "%s", (reason,), None)
    logging.getLogger().handle(logging.LogRecord(*message))
    assert [record.getMessage() for record in caplog.records] == [reason] * is_logged


def test_a_worker_does_not_print_what_it_logs(capsys: pytest.CaptureFixture[str]) -> None:
    quiet_beam()
    sdk_worker.print("Traceback")  # type: ignore[attr-defined]
    assert not any(capsys.readouterr())


def test_options_that_the_job_server_knows_are_not_reported_as_unknown(caplog: pytest.LogCaptureFixture) -> None:
    quiet_beam()
    runner = ("--runner", "PortableRunner", "--job_endpoint", "localhost:1")
    server = ("--max_bundle_size", "100", "--execution_mode_for_batch=BATCH_FORCED")
    beam.Pipeline(options=beam_options([*runner, *server]))
    assert [record.getMessage() for record in caplog.records] == []
