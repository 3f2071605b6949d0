"""Follow a job on a job server: say its state and counters, and cancel it when the command is interrupted."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, PortableOptions
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability.flink_runner import MAGIC_HOST_NAMES
from apache_beam.runners.portability.portable_runner import TERMINAL_STATES, PipelineResult, PortableMetrics

from pipelines.common.cli import UsageError

# Time between two looks at the state, and between two lines about a job whose state stays the same.
_LOOK_SECONDS = 1.0
_LINE_SECONDS = 30.0
# Time for a job to end when it has been cancelled.
_CANCEL_SECONDS = 60.0
_CALL_SECONDS = 20.0
# Counters of our jobs in the order of the work.
_COUNTERS = ("listed", "unchanged", "checked", "scored", "rejected", "examples_written")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _engine_page(options: PipelineOptions) -> str:
    """Return where the engine shows its jobs; empty if that is not known."""
    master = options.view_as(FlinkRunnerOptions).flink_master
    return "" if master in MAGIC_HOST_NAMES else master


class _Job:
    """A job that a job server has taken."""

    def __init__(self, result: PipelineResult, options: PipelineOptions):
        self._result = result
        self._page = _engine_page(options)
        endpoint = options.view_as(PortableOptions).job_endpoint
        self.name = f"job {result._job_id}" + (f" at {endpoint}" if endpoint else "")

    def state(self) -> beam_job_api_pb2.JobState.Enum.ValueType:
        """Ask for the state. Not by the result's own property, which changes what the waiting thread goes by."""
        request = beam_job_api_pb2.GetJobStateRequest(job_id=self._result._job_id)
        return self._result._job_service.GetState(request, timeout=_CALL_SECONDS).state

    def counters(self) -> str:
        """Return the counters so far; empty if the runner has none while a job runs."""
        request = beam_job_api_pb2.GetJobMetricsRequest(job_id=self._result._job_id)
        with contextlib.suppress(grpc.RpcError):
            metrics = PortableMetrics(self._result._job_service.GetJobMetrics(request, timeout=_CALL_SECONDS))
            found = dict.fromkeys(_COUNTERS, 0)
            for counter in metrics.query()["counters"]:
                if counter.key.metric.name in found:
                    found[counter.key.metric.name] += counter.result or 0
            return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in found.items() if count)
        return ""

    def follow(self, over: threading.Event) -> None:
        """Print the state when it changes, and now and then the counters, until the job or the command is over."""
        said, last_line = None, 0.0
        with contextlib.suppress(grpc.RpcError):
            while said not in TERMINAL_STATES:
                state, now = self.state(), time.monotonic()
                if state != said or now - last_line >= _LINE_SECONDS:
                    counters = self.counters() if said is not None else ""
                    self.say_state(state, counters or (self._page if said is None else ""))
                    said, last_line = state, now
                if over.wait(_LOOK_SECONDS):
                    return

    def say_state(self, state: beam_job_api_pb2.JobState.Enum.ValueType, more: str = "") -> None:
        """Print the state in a line."""
        _say(f"{self.name}: {beam_job_api_pb2.JobState.Enum.Name(state)}" + (f", {more}" if more else ""))

    def cancel(self) -> None:
        """Cancel the job and wait for its end. A second interruption leaves at once."""
        how = f"cancel it at {self._page}" if self._page else "cancel it with the engine's own command or page"
        try:
            if self.state() in TERMINAL_STATES:
                return
            _say(f"{self.name} is being cancelled; a second interruption leaves it to itself")
            self._result.cancel()
            end = time.monotonic() + _CANCEL_SECONDS
            while (state := self.state()) not in TERMINAL_STATES:
                if time.monotonic() > end:
                    _say(f"{self.name} has not ended in {_CANCEL_SECONDS:.0f} s; {how}")
                    return
                time.sleep(_LOOK_SECONDS)
            self.say_state(state)
        except grpc.RpcError as error:
            _say(f"{self.name} could not be cancelled ({error}); {how}")
        except KeyboardInterrupt:
            _say(f"{self.name} may still run; {how}")


@contextlib.contextmanager
def followed(pipeline: beam.Pipeline, options: PipelineOptions) -> Iterator[None]:
    """Follow the job of a pipeline that is run in this context, if it is sent to a job server.

    Args:
        pipeline: The pipeline.
        options: Its options.

    Raises:
        UsageError: There is no job server.
    """
    over = threading.Event()

    def job() -> _Job | None:
        result = getattr(pipeline, "result", None)
        return _Job(result, options) if isinstance(result, PipelineResult) else None

    def follow() -> None:
        while not over.wait(_LOOK_SECONDS):
            if found := job():
                found.follow(over)
                return

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    except KeyboardInterrupt:
        if found := job():
            found.cancel()
        raise
    except grpc.FutureTimeoutError as error:
        portable = options.view_as(PortableOptions)
        if job() or not portable.job_endpoint:
            raise
        raise UsageError(
            f"--job_endpoint {portable.job_endpoint}: no job server answers there in {portable.job_server_timeout} s"
        ) from error
    finally:
        over.set()
        follower.join()
