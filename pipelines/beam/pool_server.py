"""Start workers for the runners that ask for them: the server behind `worker_pool`."""

from __future__ import annotations

import collections
import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import grpc
from apache_beam.portability.api import (
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    endpoints_pb2,
)
from apache_beam.utils import thread_pool_executor
from google.protobuf import json_format, text_format

from pipelines.common.cli import UsageError

# Time until a worker has reached its runner; imports take some five seconds. Beam itself gives up after a minute.
_START_SECONDS = 180
# Time for a worker to end by itself, and then once more after SIGTERM.
_STOP_SECONDS = 10
_PROVISION_SECONDS = 60
_LAST_LINES = 20


def _descriptor(endpoint: endpoints_pb2.ApiServiceDescriptor) -> str:
    return text_format.MessageToString(endpoint, as_one_line=True)


def _worker_environment(request: beam_fn_api_pb2.StartWorkerRequest) -> dict[str, str]:
    """Return the environment from which Beam's worker takes what it has to know, as in Beam's own container.

    Raises:
        grpc.RpcError: The runner does not give the job's options.
    """
    environment = {
        **os.environ,
        "WORKER_ID": request.worker_id,
        "CONTROL_API_SERVICE_DESCRIPTOR": _descriptor(request.control_endpoint),
    }
    if request.logging_endpoint.url:
        environment["LOGGING_API_SERVICE_DESCRIPTOR"] = _descriptor(request.logging_endpoint)
    if request.provision_endpoint.url:
        with grpc.insecure_channel(request.provision_endpoint.url) as channel:
            info = (
                beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
                .GetProvisionInfo(
                    beam_provision_api_pb2.GetProvisionInfoRequest(),
                    metadata=(("worker_id", request.worker_id),),
                    wait_for_ready=True,
                    timeout=_PROVISION_SECONDS,
                )
                .info
            )
        environment["PIPELINE_OPTIONS"] = json_format.MessageToJson(info.pipeline_options, indent=None)
        environment["RUNNER_CAPABILITIES"] = " ".join(info.runner_capabilities)
        if info.status_endpoint.url:
            environment["STATUS_API_SERVICE_DESCRIPTOR"] = _descriptor(info.status_endpoint)
    return environment


def say(message: str) -> None:
    """Print a line on stderr."""
    # One call for a whole line, so that lines of several threads do not mix.
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


class _Worker:
    """One worker process, whose output is passed on line by line.

    Args:
        name: What the worker is called in messages.
        peer: Address of whoever asked for it.
        environment: The environment variables of the process.
    """

    def __init__(self, name: str, peer: str, environment: dict[str, str]):
        self._name = name
        self.peer = peer
        self._lines: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
        self._connected, write_end = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.beam.pool_worker", str(write_end)],
                # Held open while the pool lives; a worker ends when it breaks.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=environment,
                pass_fds=[write_end],
                # A group of its own: the pool decides when it ends, together with what it has started.
                start_new_session=True,
            )
        finally:
            os.close(write_end)
        self._output = threading.Thread(target=self._pass_on, daemon=True)
        self._output.start()

    def _pass_on(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line.rstrip("\n"))
            say(f"{self._name}: {self._lines[-1]}")

    def failure_to_connect(self) -> str:
        """Wait until the worker has reached its runner; return why it has not, empty if it has."""
        try:
            readable, _, _ = select.select([self._connected], [], [], _START_SECONDS)
            if readable and os.read(self._connected, 1):
                return ""
        finally:
            os.close(self._connected)
        if not readable:
            self.stop(0)
            return f"did not reach the runner in {_START_SECONDS} s"
        code = self._process.wait()
        self._output.join(_STOP_SECONDS)
        told = [line for line in self._lines if line.strip()]
        return f"ended with code {code} before it reached the runner" + (f": {told[-1].strip()}" if told else "")

    def wait(self) -> int:
        """Return the exit code of the worker once it has ended."""
        return self._process.wait()

    def has_ended(self, seconds: float) -> bool:
        """Return whether the worker ends within a time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.poll() is not None

    def stop(self, seconds: float) -> None:
        """End the worker and what it has started.

        Args:
            seconds: How long the worker may take to end by itself.
        """
        if self.has_ended(seconds):
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            if self.has_ended(_STOP_SECONDS):
                return


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """The service that runners ask to start and stop workers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By address of the runner's control service, and worker id there.
        self._workers: dict[tuple[str, str], _Worker] = {}
        self._closed = False

    def StartWorker(  # noqa: N802 - Beam's name
        self, request: beam_fn_api_pb2.StartWorkerRequest, context: Any
    ) -> beam_fn_api_pb2.StartWorkerResponse:
        """Start a worker, and answer once it has reached the runner or has failed to."""
        key = (request.control_endpoint.url, request.worker_id)
        name = f"worker {request.worker_id} of {request.control_endpoint.url}"
        try:
            environment = _worker_environment(request)
        except grpc.RpcError as error:
            return self._refusal(f"{name} cannot be started: no options from {request.provision_endpoint.url}: {error}")
        with self._lock:
            if self._closed:
                return self._refusal(f"{name} cannot be started: the pool is being stopped")
            worker = self._workers[key] = _Worker(name, context.peer(), environment)
        say(f"{name} is started")
        failure = worker.failure_to_connect()
        if failure:
            self._forget(key, worker)
            return self._refusal(f"{name} {failure}")
        threading.Thread(target=self._watch, args=(key, name, worker), daemon=True).start()
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(  # noqa: N802 - Beam's name
        self, request: beam_fn_api_pb2.StopWorkerRequest, context: Any
    ) -> beam_fn_api_pb2.StopWorkerResponse:
        """Stop a worker. The request does not say whose: runners number their workers alike."""
        with self._lock:
            alike = [worker for (_, number), worker in self._workers.items() if number == request.worker_id]
        # Runners end the worker's stream before they ask, and keep the connection on which they asked for it. If the
        # connection was renewed, that end alone must do.
        own = [worker for worker in alike if worker.peer == context.peer()] or alike
        if len(own) == 1:
            own[0].stop(_STOP_SECONDS)
        return beam_fn_api_pb2.StopWorkerResponse()

    def close(self) -> None:
        """Stop all workers; start none from here on."""
        with self._lock:
            self._closed = True
            workers = list(self._workers.values())
        stopping = [threading.Thread(target=worker.stop, args=(0,)) for worker in workers]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()

    def _watch(self, key: tuple[str, str], name: str, worker: _Worker) -> None:
        code = worker.wait()
        self._forget(key, worker)
        say(f"{name} ended with code {code}" if code else f"{name} is done")

    def _forget(self, key: tuple[str, str], worker: _Worker) -> None:
        with self._lock:
            if self._workers.get(key) is worker:
                del self._workers[key]

    def _refusal(self, message: str) -> beam_fn_api_pb2.StartWorkerResponse:
        say(message)
        return beam_fn_api_pb2.StartWorkerResponse(error=message)


@contextlib.contextmanager
def serving(host: str, port: int) -> Iterator[int]:
    """Serve a pool while the block runs, and stop its workers afterwards; yield the port.

    Args:
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.

    Raises:
        UsageError: The port cannot be had.
    """
    # A request waits until its worker has started, so there is a thread for each.
    server = grpc.server(
        thread_pool_executor.shared_unbounded_instance(),
        options=[
            # Two pools on one port would each get some of the requests.
            ("grpc.so_reuseport", 0),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.http2.max_ping_strikes", 0),
        ],
    )
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise UsageError(f"--port {port}: cannot be had at {host}; name another") from error
    pool = WorkerPool()
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.start()
    try:
        yield bound
    finally:
        server.stop(None)
        pool.close()
