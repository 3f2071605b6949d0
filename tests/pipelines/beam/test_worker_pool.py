"""Workers for a runner that asks for them: told apart, given options, missed when they do not come, stopped."""

from __future__ import annotations

import contextlib
import queue
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from apache_beam.portability.api import (
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    endpoints_pb2,
)

ROOT = Path(__file__).resolve().parents[3]
# Far beyond what anything here takes.
LIMIT = 120


class Runner(beam_fn_api_pb2_grpc.BeamFnControlServicer, beam_provision_api_pb2_grpc.ProvisionServiceServicer):
    """The part of a runner that a worker meets: it connects, gets the options, and stays until the runner ends it.

    Args:
        options: The job's options.
    """

    def __init__(self, **options: Any):
        self._options = options
        self._orders: queue.Queue[None] = queue.Queue()
        self.came: queue.Queue[str] = queue.Queue()
        self.left: queue.Queue[str] = queue.Queue()

    def GetProvisionInfo(self, request: Any, context: Any) -> Any:  # noqa: N802 - Beam's name
        info = beam_provision_api_pb2.ProvisionInfo()
        info.pipeline_options.update({f"beam:option:{name}:v1": value for name, value in self._options.items()})
        return beam_provision_api_pb2.GetProvisionInfoResponse(info=info)

    def Control(self, responses: Any, context: Any) -> Iterator[Any]:  # noqa: N802 - Beam's name
        worker = dict(context.invocation_metadata())["worker_id"]
        context.add_callback(lambda: self.left.put(worker))
        self.came.put(worker)
        self._orders.get()
        yield from ()

    def end_stream(self) -> None:
        self._orders.put(None)


@contextlib.contextmanager
def serving(runner: Runner) -> Iterator[endpoints_pb2.ApiServiceDescriptor]:
    server = grpc.server(ThreadPoolExecutor(4))
    beam_fn_api_pb2_grpc.add_BeamFnControlServicer_to_server(runner, server)
    beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(runner, server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        yield endpoints_pb2.ApiServiceDescriptor(url=f"localhost:{port}")
    finally:
        runner.end_stream()
        server.stop(None).wait()


class Pool:
    """A pool that runs as a command does."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.beam.worker_pool", "--port", "0"],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        self.said = self.process.stderr
        started = re.search(r"localhost:(\d+)$", self.said.readline())
        assert started
        self.address = started[0]

    def start(self, worker: str, runner: endpoints_pb2.ApiServiceDescriptor) -> tuple[grpc.Channel, str]:
        """Start a worker as runners do: on a connection that is kept for its end. Gives that and the error."""
        # As two processes have it, a connection for each.
        channel = grpc.insecure_channel(self.address, [("grpc.use_local_subchannel_pool", 1)])
        request = beam_fn_api_pb2.StartWorkerRequest(
            worker_id=worker, control_endpoint=runner, provision_endpoint=runner
        )
        answer = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel).StartWorker(request, timeout=LIMIT)
        return channel, answer.error


def stop(channel: grpc.Channel, worker: str) -> None:
    request = beam_fn_api_pb2.StopWorkerRequest(worker_id=worker)
    beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel).StopWorker(request, timeout=LIMIT)


@pytest.fixture
def pool() -> Iterator[Pool]:
    started = Pool()
    yield started
    started.process.terminate()
    started.process.communicate(timeout=LIMIT)


def test_two_runners_number_their_workers_alike_and_each_stops_its_own(pool: Pool) -> None:
    first, second = Runner(), Runner()
    with serving(first) as at_first, serving(second) as at_second, ThreadPoolExecutor(2) as both:
        (channel, error), (_, other_error) = both.map(pool.start, ("1-1", "1-1"), (at_first, at_second))
        assert error == other_error == ""
        assert first.came.get(timeout=LIMIT) == second.came.get(timeout=LIMIT) == "1-1"
        first.end_stream()
        stop(channel, "1-1")
        assert first.left.get(timeout=LIMIT) == "1-1"
        assert second.left.empty()
        # The pool takes those that are left with it.
        pool.process.send_signal(signal.SIGTERM)
        assert second.left.get(timeout=LIMIT) == "1-1"
        assert pool.process.wait(LIMIT) == 0
    assert f"worker 1-1 of {at_first.url} is done\n" in pool.said.read()


def test_a_killed_pool_takes_its_workers_with_it(pool: Pool) -> None:
    runner = Runner()
    with serving(runner) as address:
        assert pool.start("1", address)[1] == ""
        assert runner.came.get(timeout=LIMIT) == "1"
        pool.process.kill()
        assert runner.left.get(timeout=LIMIT) == "1"


def test_a_worker_that_does_not_come_is_an_error_that_says_why(pool: Pool) -> None:
    with serving(Runner(pickle_library="none-of-them")) as runner:
        _, error = pool.start("7", runner)
    assert re.match(rf"worker 7 of {runner.url} ended with code \d before it reached the runner: .*none-of-them", error)


def test_a_port_in_use_is_one_line_of_ours() -> None:
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.beam.worker_pool", "--host", "127.0.0.1", "--port", str(port)],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
    assert done.returncode == 2
    # gRPC itself has written what it tried.
    assert done.stderr.splitlines()[-1] == (
        f"pipelines.beam.worker_pool: error: --port {port}: cannot be had at 127.0.0.1; name another"
    )
