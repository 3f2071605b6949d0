"""A Dataflow of our own on loopback, for tests: it takes jobs, and says of each what the test tells it to say."""

from __future__ import annotations

import contextlib
import http.server
import json
import queue
import re
import threading
from collections.abc import Iterator

_JOBS = re.compile(r"/v1b3/projects/([^/]+)/locations/([^/]+)/jobs(?:/([^/]+?))?(/messages|/metrics)?")


class LocalDataflow:
    """address: for --dataflow_endpoint; submitted: the jobs, as the client sent them.

    refusal: what to answer to a new job instead of taking it, as HTTP status and message.
    """

    def __init__(self) -> None:
        self.address = ""
        self.submitted: queue.Queue[dict] = queue.Queue()
        self.refusal: tuple[int, str] | None = None
        self._jobs: dict[str, dict] = {}

    def say(self, state: str) -> None:
        """From here on every job is in this state, such as JOB_STATE_DONE."""
        for job in self._jobs.values():
            job["currentState"] = state

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict]:
        """HTTP status and content for a request."""
        found = _JOBS.fullmatch(path.partition("?")[0])
        if not found:
            return 404, {"error": {"code": 404, "message": f"not here: {method} {path}"}}
        project, location, name, more = found.groups()
        if method == "POST" and not name and self.refusal:
            return self.refusal[0], {"error": {"code": self.refusal[0], "message": self.refusal[1]}}
        if method == "POST" and not name:
            job = json.loads(body)
            made = {"id": f"job-{len(self._jobs)}", "projectId": project, "location": location}
            made |= {key: job[key] for key in ("name", "type", "clientRequestId") if key in job}
            self._jobs[made["id"]] = {**made, "currentState": "JOB_STATE_RUNNING"}
            self.submitted.put({**job, "projectId": project, "location": location})
            return 200, self._jobs[made["id"]]
        if method == "GET" and name in self._jobs:
            # No messages, and no metrics either: a job must not need them.
            return 200, {} if more else self._jobs[name]
        return 404, {"error": {"code": 404, "message": f"no such job: {method} {path}"}}


@contextlib.contextmanager
def local_dataflow() -> Iterator[LocalDataflow]:
    """Serve the jobs API."""
    service = LocalDataflow()

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            status, content = service.answer(
                self.command, self.path, self.rfile.read(int(self.headers.get("Content-Length", 0)))
            )
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer  # noqa: N815  the base class has it so

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # By this name Beam knows that it is no service of Google's.
    service.address = f"http://localhost:{server.server_port}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
