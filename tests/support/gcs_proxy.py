"""A door to the local bucket: it keeps preconditions, which the bucket does not know, and can fail on demand."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator

# Of one connection, not of the message.
_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}
_NAME = re.compile(rb'"name": ("(?:[^"\\]|\\.)*")')
# What to do with a request (method, path with query, in which an upload has its name): None to pass it on; a status to
# answer instead; "cut" to answer half and close; "lost" to pass it on and close without an answer.
Fault = Callable[[str, str], int | str | None]


class Door:
    """url: where the bucket is now. fault: asked of every request; passed: told of every one that the bucket has
    done, before its answer is sent."""

    def __init__(self) -> None:
        self.url = ""
        self.fault: Fault = lambda method, path: None
        self.passed: Callable[[str, str], None] = lambda method, path: None


def once(status: int | str, *fragments: str) -> Fault:
    """A fault of the first request of each path that holds all fragments; `METHOD path?query` is looked at."""
    seen = set()

    def fault(method: str, path: str) -> int | str | None:
        line = urllib.parse.unquote(f"{method} {path}")
        if not all(fragment in line for fragment in fragments) or line in seen:
            return None
        seen.add(line)
        return status

    return fault


@contextlib.contextmanager
def door(storage: str) -> Iterator[Door]:
    """Serve the storage at a URL through a door."""
    place = urllib.parse.urlsplit(storage).netloc
    opened = Door()

    def ask(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(place)
        try:
            connection.request(method, path, body, headers)
            found = connection.getresponse()
            # Sessions of uploads are named by the bucket's own address; they go through the door too.
            passed = {name: value.replace(storage, opened.url) for name, value in found.getheaders()}
            return found.status, passed, found.read()
        finally:
            connection.close()

    def generation(path: str, query: dict[str, str]) -> int:
        """Of the object that a request would write, read or delete; 0: there is none."""
        path = path.removeprefix("/upload").removeprefix("/download")
        name = f"/{urllib.parse.quote(query['name'], safe='')}" if "name" in query else ""
        status, _, content = ask("GET", path + name, {}, b"")
        return int(json.loads(content)["generation"]) if status == 200 else 0

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path
            if self.command == "POST" and "uploadType=" in path and "name=" not in path:
                # What an upload begins with names the object.
                named = _NAME.search(body)
                assert named, body
                path += "&name=" + urllib.parse.quote(json.loads(named[1]), safe="")
            fault = opened.fault(self.command, path)
            if isinstance(fault, int):
                self._send(fault, {}, b"not now")
                return
            url = urllib.parse.urlsplit(path)
            query = dict(urllib.parse.parse_qsl(url.query))
            # Of an upload in parts the condition is looked at when it is begun.
            wanted = None if "upload_id" in query else query.get("ifGenerationMatch")
            if wanted is not None and generation(url.path, query) != int(wanted):
                self._send(412, {}, b"conditionNotMet")
                return
            kept = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            status, headers, data = ask(self.command, self.path, kept, body)
            opened.passed(self.command, path)
            if fault == "lost":
                self.close_connection = True
                return
            self._send(status, headers, data, cut=fault == "cut")

        def _send(self, status: int, headers: dict[str, str], data: bytes, cut: bool = False) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if cut else data)
            self.close_connection = self.close_connection or cut

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer  # noqa: N815  the base class has it so

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    opened.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield opened
    finally:
        server.shutdown()
        server.server_close()
