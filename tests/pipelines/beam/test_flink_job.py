"""A job is found, and cancelled, at a stand-in for Flink's REST interface."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipelines.beam.flink_job import FlinkJob


class _Flink(ThreadingHTTPServer):
    """Has jobs: name, start and state by id. Those that have ended cannot be cancelled."""

    def __init__(self) -> None:
        super().__init__(("localhost", 0), _Handler)
        self.jobs: dict[str, tuple[str, int, str]] = {}


class _Handler(BaseHTTPRequestHandler):
    server: _Flink

    def _answer(self, code: int, content: object) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def do_GET(self) -> None:
        jobs = [{"jid": each, "name": name, "start-time": start} for each, (name, start, _) in self.server.jobs.items()]
        if self.path == "/jobs/overview":
            self._answer(200, {"jobs": jobs})
        else:
            self._answer(200, {"state": self.server.jobs[self.path.rpartition("/")[2]][2]})

    def do_PATCH(self) -> None:
        job = self.path.removeprefix("/jobs/").removesuffix("?mode=cancel")
        name, start, state = self.server.jobs[job]
        if state == "RUNNING":
            self.server.jobs[job] = (name, start, "CANCELED")
            self._answer(202, {})
        else:
            self._answer(409, {"errors": [f"the job is {state}"]})

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[tuple[_Flink, str]]:
    with _Flink() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server, f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()


def test_a_job_is_the_newest_of_its_name_once_flink_has_it() -> None:
    with serving() as (flink, address):
        job = FlinkJob(address, "score-1_unique")
        flink.jobs["other"] = ("score-2", 9, "RUNNING")
        assert job.page() == ""
        job.cancel()
        assert not job.is_over()
        flink.jobs.update({"old": ("score-1", 1, "FINISHED"), "new": ("score-1", 2, "RUNNING")})
        assert job.page() == f"{address}/#/job/running/new/overview"
        assert not job.is_over()
        job.cancel()
        assert job.is_over()
        assert flink.jobs["other"][2] == "RUNNING"


def test_a_job_that_has_ended_need_not_be_cancelled() -> None:
    with serving() as (flink, address):
        flink.jobs["id"] = ("score", 1, "FINISHED")
        job = FlinkJob(address, "score_unique")
        job.cancel()
        assert job.is_over()


def test_a_flink_that_does_not_answer_is_an_error_of_the_system() -> None:
    with serving() as (_, address):
        pass
    with pytest.raises(OSError, match="refused"):
        FlinkJob(address, "score_unique").page()
