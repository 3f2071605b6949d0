"""Follow a job on a job server: say its state and counters, and cancel it when the command is interrupted."""

from __future__ import annotations

import contextlib
import functools
import re
import threading
import time
from collections.abc import Iterator

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability.portable_runner import TERMINAL_STATES, PipelineResult, PortableMetrics

from pipelines.beam.flink_job import FlinkJob, flink_address
from pipelines.common import console
from pipelines.common.cli import RunnerFailed, UsageError

# Time between two looks at the state, and between two lines about a job whose state stays the same.
_LOOK_SECONDS = 1.0
_LINE_SECONDS = 30.0
# Time for a job to end when it has been cancelled.
_CANCEL_SECONDS = 60.0
# Time in which a cancelled job may still come to the engine from the job server.
_HAND_ON_SECONDS = 15.0
_CALL_SECONDS = 20.0
_MESSAGE_LENGTH = 300
# Counters of our jobs in the order of the work.
_COUNTERS = ("listed", "unchanged", "checked", "scored", "rejected", "examples_written")


def _in_a_line(error: grpc.RpcError | OSError | str) -> str:
    """Return the message of an error in one line, of no great length."""
    text = f"{error.code().name}: {error.details()}" if isinstance(error, grpc.Call) else str(error)
    return " ".join(text.split())[:_MESSAGE_LENGTH]


class _Job:
    """A job that a job server has taken."""

    def __init__(self, result: PipelineResult, endpoint: str):
        self._result = result
        self._at = f" at {endpoint}" if endpoint else ""
        # Where the engine shows the job; empty if that is not known, or not yet.
        self._page = ""
        self._asked = False
        self._flink: FlinkJob | None = None
        self.name = f"job {result._job_id}{self._at}"

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

    def new_page(self) -> str:
        """Return the page of the job when it is first found."""
        if not self._asked:
            self._asked = True
            # Not every job server lists its jobs.
            with contextlib.suppress(grpc.RpcError):
                address = flink_address(self._result._job_service, self._result._job_id)
                self._flink = FlinkJob(address, self._result._job_id) if address else None
        if self._page or not self._flink:
            return ""
        try:
            self._page = self._flink.page()
        except OSError:
            # A machine that this one does not reach.
            self._page = self._flink.address
        return self._page

    def follow(self, over: threading.Event) -> None:
        """Print the state when it changes, and now and then the counters, until the job or the command is over."""
        said, last_line = None, 0.0
        with contextlib.suppress(grpc.RpcError):
            while said not in TERMINAL_STATES:
                state, page, now = self.state(), self.new_page(), time.monotonic()
                if state != said or page or now - last_line >= _LINE_SECONDS:
                    self.say_state(state, page or (self.counters() if said is not None else ""))
                    said, last_line = state, now
                if over.wait(_LOOK_SECONDS):
                    return

    def say_state(self, state: beam_job_api_pb2.JobState.Enum.ValueType, more: str = "") -> None:
        """Print the state in a line."""
        console.say(f"{self.name}: {beam_job_api_pb2.JobState.Enum.Name(state)}" + (f", {more}" if more else ""))

    def _where(self) -> str:
        page = self._page or (self._flink.address if self._flink else "")
        return f"at {page}" if page else "with the engine's own command or page"

    def cancel(self) -> None:
        """Cancel the job and wait for its end. A second interruption leaves at once."""
        try:
            if self.state() in TERMINAL_STATES:
                return
            self.new_page()
            console.say(f"{self.name} is being cancelled; a second interruption leaves it to itself")
            self._result.cancel()
            begin = time.monotonic()
            while not self._has_ended(time.monotonic() - begin):
                if time.monotonic() - begin > _CANCEL_SECONDS:
                    console.say(f"{self.name} has not ended in {_CANCEL_SECONDS:.0f} s; cancel it {self._where()}")
                    return
                time.sleep(_LOOK_SECONDS)
            self.say_state(self.state())
        except (grpc.RpcError, OSError) as error:
            console.say(f"{self.name} could not be cancelled ({_in_a_line(error)}); cancel it {self._where()}")
        except KeyboardInterrupt:
            console.say(f"{self.name} may still run; cancel it {self._where()}")

    def _has_ended(self, seconds: float) -> bool:
        """Return whether a job has ended that was cancelled so many seconds ago."""
        if self.state() not in TERMINAL_STATES:
            return False
        if not self._flink:
            return True
        # Again each time: the job server may have been about to hand the job on.
        self._flink.cancel()
        return self._flink.is_over() or (not self._flink.page() and seconds > _HAND_ON_SECONDS)

    def lost(self, error: grpc.RpcError) -> RunnerFailed:
        """Return what to say if the job server no longer answers."""
        return RunnerFailed(
            f"the job server{self._at} is gone ({_in_a_line(error)}), and its job {self._result._job_id} may go on; "
            f"cancel it {self._where()}, and run the same command again"
        )

    def given_up(self, error: RuntimeError) -> RunnerFailed | None:
        """Return what to say if the engine ended the job; None if it did for an error of our code, in a worker."""
        ended = re.match(rf"Pipeline {re.escape(self._result._job_id)} failed in state (\w+): ", str(error))
        if not ended or "Traceback" in str(error):
            return None
        why = _in_a_line(str(error)[ended.end() :])
        page = f"; more at {self._page}" if self._page else ""
        return RunnerFailed(f"{self.name}: {ended[1]}, {why}{page}; the same command starts again")


@contextlib.contextmanager
def followed(pipeline: beam.Pipeline, options: PipelineOptions) -> Iterator[None]:
    """Follow the job of a pipeline that is run in this context, if it is sent to a job server.

    Args:
        pipeline: The pipeline.
        options: Its options.

    Raises:
        RunnerFailed: The engine ended the job, or the job server no longer answers.
        UsageError: There is no job server.
    """
    over = threading.Event()
    endpoint = options.view_as(PortableOptions).job_endpoint

    @functools.cache
    def taken(result: PipelineResult) -> _Job:
        return _Job(result, endpoint)

    def job() -> _Job | None:
        result = getattr(pipeline, "result", None)
        return taken(result) if isinstance(result, PipelineResult) else None

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
        if job() or not endpoint:
            raise
        raise UsageError(
            f"--job_endpoint {endpoint}: no job server answers there in "
            f"{options.view_as(PortableOptions).job_server_timeout} s"
        ) from error
    except grpc.RpcError as error:
        if found := job():
            raise found.lost(error) from error
        raise
    except RuntimeError as error:
        if (found := job()) and (failure := found.given_up(error)):
            raise failure from error
        raise
    finally:
        over.set()
        follower.join()
