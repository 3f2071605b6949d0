"""What goes wrong between a command and Google Cloud Storage, for tests: planned, and the same in every run."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple, Protocol


class Fault(Protocol):
    """answer: serves the request as if nothing were wrong."""

    def strike(self, handler: BaseHTTPRequestHandler, answer: Callable[[], None]) -> None: ...


def _captured(handler: BaseHTTPRequestHandler, answer: Callable[[], None]) -> tuple[bytes, bytes]:
    """Head, with the line that ends it, and body of what would have been sent."""
    wire, handler.wfile = handler.wfile, io.BytesIO()
    try:
        answer()
        head, end, body = handler.wfile.getvalue().partition(b"\r\n\r\n")
        return head + end, body
    finally:
        handler.wfile = wire


def _body_size(handler: BaseHTTPRequestHandler) -> int:
    return int(handler.headers.get("Content-Length") or 0)


class Refuse(NamedTuple):
    """An answer of Google's with this status and message; nothing is done."""

    status: int
    message: str = "We encountered an internal error. Please try again."

    def strike(self, handler: BaseHTTPRequestHandler, answer: Callable[[], None]) -> None:
        handler.rfile.read(_body_size(handler))
        error = {"code": self.status, "message": self.message, "errors": [{"message": self.message}]}
        body = json.dumps({"error": error}).encode()
        handler.send_response(self.status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Retry-After", "0")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


class CutAnswer(NamedTuple):
    """The request is served, and the connection breaks after so many bytes of the answer's body, or in its middle."""

    after: int = 1 << 30

    def strike(self, handler: BaseHTTPRequestHandler, answer: Callable[[], None]) -> None:
        head, body = _captured(handler, answer)
        handler.wfile.write(head + body[: min(self.after, len(body) // 2)])
        handler.close_connection = True


class AlterAnswer(NamedTuple):
    """The request is served, and the last byte of the answer changes on its way."""

    def strike(self, handler: BaseHTTPRequestHandler, answer: Callable[[], None]) -> None:
        head, body = _captured(handler, answer)
        handler.wfile.write(head + body[:-1] + bytes([body[-1] ^ 1]))


class CutRequest(NamedTuple):
    """The connection breaks in the middle of what is sent; nothing is done."""

    def strike(self, handler: BaseHTTPRequestHandler, answer: Callable[[], None]) -> None:
        handler.rfile.read(_body_size(handler) // 2)
        handler.close_connection = True


class LoseAnswer(NamedTuple):
    """The request is served, and whoever asked never hears of it."""

    def strike(self, handler: BaseHTTPRequestHandler, answer: Callable[[], None]) -> None:
        _captured(handler, answer)
        handler.close_connection = True


class StopClient(NamedTuple):
    """The request is served, and whoever asked is stopped before it hears of it. process: its number."""

    process: int

    def strike(self, handler: BaseHTTPRequestHandler, answer: Callable[[], None]) -> None:
        head, body = _captured(handler, answer)
        os.kill(self.process, signal.SIGSTOP)
        handler.wfile.write(head + body)


class RefuseOneOfBatch(NamedTuple):
    """Of several requests sent as one the first is said to have failed."""

    status: int = 503

    def strike(self, handler: BaseHTTPRequestHandler, answer: Callable[[], None]) -> None:
        head, body = _captured(handler, answer)
        body = re.sub(rb"HTTP/1\.1 2\d\d [\w ]+", f"HTTP/1.1 {self.status} Failed".encode(), body, count=1)
        head = re.sub(rb"(?i)(content-length: )\d+", rb"\g<1>%d" % len(body), head)
        handler.wfile.write(head + body)


class Rule(NamedTuple):
    """pattern: of `METHOD path?query`. faults: of the first, second, … time that one such thing is asked for, or None.

    share: strikes one of so many things, chosen by name.
    """

    name: str
    pattern: str
    faults: Sequence[Fault | None]
    share: int = 1


class Plan:
    """Rules, of which the first that fits a request counts. struck: how often each has struck."""

    def __init__(self, *rules: Rule):
        self._rules = rules
        self._asked: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self.struck: Counter[str] = Counter()

    def __call__(self, method: str, path: str) -> Fault | None:
        # A second upload of one thing is the second time that it is asked for.
        request = re.sub("upload_id=[^&]*", "", f"{method} {path}")
        chosen = zlib.crc32(request.encode())
        rule = next(
            (rule for rule in self._rules if re.search(rule.pattern, request) and not chosen % rule.share), None
        )
        if rule is None:
            return None
        with self._lock:
            time = self._asked[rule.name, request]
            self._asked[rule.name, request] += 1
            fault = rule.faults[time] if time < len(rule.faults) else None
            self.struck[rule.name] += fault is not None
            return fault
