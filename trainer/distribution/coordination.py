"""Connections between the workers of a run, besides TensorFlow's own, that show at once when a worker is gone.

TensorFlow waits minutes for a worker that never comes, and 10 s or more for one that was killed. Here every worker
keeps a TCP connection to the chief. Before training, all workers meet there, or the run ends with the missing
addresses. During training, a closed connection ends the process within milliseconds, and keep-alive probes find a dead
machine within 20 s. The meeting also compares the options of the workers, and the chief distributes its checkpoint over
these connections, so that only the chief needs the output directory.

A frame is one byte of kind, eight bytes of length, and the payload. The chief listens on its own port of TF_CONFIG
during the meeting; TensorFlow's server binds that port afterwards.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import socket
import struct
import threading
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from pipelines.common.cli import EXIT_RESTART, EXIT_USAGE, UsageError
from trainer.distribution.cluster import Cluster, split_address
from trainer.distribution.preemption import RestartError, exit_process, say

_HEADER = struct.Struct(">cQ")
_HELLO, _GO, _DATA, _BYE, _FAILED = (bytes([letter]) for letter in b"HGDBF")
_RETRY_SECONDS = 0.2
_HELLO_SECONDS = 5.0
_SETTLE_SECONDS = 2.0
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
_LARGEST_HELLO = 1 << 20
# How long a chief that gives up before the meeting waits for workers to tell them, and how long another looks for the
# chief. Workers that start together come within seconds.
_TURN_AWAY_SECONDS = 60.0
_REPORT_SECONDS = 10.0


class WorkerConnections:
    """Connections to the other workers of this run.

    A run with one worker has none; its methods then neither wait nor send anything.
    """

    def __init__(self, cluster: Cluster):
        self.cluster = cluster
        self._connections: dict[int, socket.socket] = {}
        self._data: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._gone = {rank: threading.Event() for rank in range(cluster.size)}
        self._leaving = threading.Lock()
        # The workers that the chief has not heard of yet; of another worker, the chief.
        self._to_come = set(range(1, cluster.size)) if cluster.is_chief else {0}

    def connect(self, must_match: Mapping[str, Any], timeout: float) -> None:
        """Connect all workers, wait until they are there, and compare their options.

        Args:
            must_match: Values that must be the same on all workers, name -> JSON value.
            timeout: Seconds to wait for the other workers.

        Raises:
            UsageError: If the values differ, or if the port of this worker is taken.
            RestartError: If some workers have not come after `timeout` seconds; the message names their addresses.
        """
        if self.cluster.size == 1:
            return
        deadline = time.monotonic() + timeout
        host, port = split_address(self.cluster.addresses[self.cluster.rank])
        try:
            listener = _listen(port)
        except OSError as error:
            raise UsageError(f"TF_CONFIG: port {port} of {host} cannot be used here ({error.strerror})") from None
        if self.cluster.is_chief:
            with listener:
                self._receive_all(listener, dict(must_match), deadline, timeout)
        else:
            # It only had to show that the port is free.
            listener.close()
            self._join(dict(must_match), deadline, timeout)
        for rank, connection in self._connections.items():
            connection.settimeout(None)
            threading.Thread(target=self._watch, args=(rank, connection), daemon=True).start()

    def broadcast(self, payload: bytes | None) -> bytes | None:
        """Return the chief's payload on every worker.

        Args:
            payload: Bytes to send to the others; ignored on workers other than the chief.

        Returns:
            The chief's payload; None on the other workers if it is empty or None.
        """
        if self.cluster.size == 1:
            return payload
        if not self.cluster.is_chief:
            return self._data.get() or None
        for connection in self._connections.values():
            _send(connection, _DATA, payload or b"")
        return payload

    def disconnect(self) -> None:
        """Wait until all workers are done; from then on a closed connection is no failure."""
        if self.cluster.is_chief:
            for rank in self._connections:
                self._gone[rank].wait()
            self._tell(_BYE)
        else:
            self._tell(_BYE)
            self._gone[0].wait()

    def give_up(self, message: str, code: int) -> NoReturn:
        """Print one line, tell the other workers that this one gives up, and end this process.

        The others end with the same exit code. Before the meeting they may not be there yet: the chief waits for them
        for a while, and another worker looks for the chief, so that nobody waits for the whole of --peer_timeout.
        """
        self._only_once()
        say(message)
        failure = self._tell_failure(message, code)
        with contextlib.suppress(OSError):
            if self._to_come and self.cluster.is_chief:
                self._turn_away(failure)
            elif self._to_come:
                self._report(failure)
        os._exit(code)

    def exit_process(self, message: str, code: int) -> NoReturn:
        """Print one line and end this process with an exit code, unless a lost worker is already ending it."""
        self._only_once()
        exit_process(message, code)

    def _tell_failure(self, message: str, code: int) -> bytes:
        failure = json.dumps([code, f"{self.cluster.name(self.cluster.rank)}: {message}"]).encode()
        self._tell(_FAILED, failure)
        return failure

    def _turn_away(self, failure: bytes) -> None:
        """Wait for the workers that are to come, and tell each why there will be no meeting."""
        deadline = time.monotonic() + _TURN_AWAY_SECONDS
        with _listen(split_address(self.cluster.addresses[0])[1]) as listener:
            while self._to_come:
                rank, hello, connection = self._next_hello(listener, deadline)
                with connection, contextlib.suppress(OSError):
                    if "failed" not in hello:
                        _send(connection, _FAILED, failure)
                self._to_come.discard(rank)

    def _report(self, failure: bytes) -> None:
        """Tell the chief that this worker will not come to the meeting."""
        deadline = time.monotonic() + _REPORT_SECONDS
        hello = json.dumps({"rank": self.cluster.rank, "must_match": {}, "failed": json.loads(failure)}).encode()
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                with socket.create_connection(split_address(self.cluster.addresses[0]), _HELLO_SECONDS) as connection:
                    _send(connection, _HELLO, hello)
                return
            threading.Event().wait(_RETRY_SECONDS)

    def raise_lost_worker(self, reason: str) -> NoReturn:
        """Wait a moment, then raise RestartError: TensorFlow has reported a lost worker, without saying which one.

        If the worker's connection was closed, this process ends during the wait with a message that names the worker.

        Args:
            reason: Message of TensorFlow.

        Raises:
            RestartError: If no connection was closed after a short wait.
        """
        # A closed connection ends this process with the name of the lost worker; a silent machine closes nothing.
        threading.Event().wait(_SETTLE_SECONDS)
        raise RestartError(f"lost another worker ({reason}); start all workers again to continue")

    def _only_once(self) -> None:
        if not self._leaving.acquire(blocking=False):
            # Another thread is about to end this process.
            threading.Event().wait()

    def _tell(self, kind: bytes, payload: bytes = b"") -> None:
        for connection in self._connections.values():
            try:
                _send(connection, kind, payload)
            except OSError:
                continue  # It is gone already; its watcher reports that.

    def _receive_all(
        self, listener: socket.socket, must_match: dict[str, Any], deadline: float, timeout: float
    ) -> None:
        """Hold the meeting as the chief: accept connections until every worker has said hello."""
        different: str | None = None
        try:
            while self._to_come:
                rank, hello, connection = self._next_hello(listener, deadline)
                self._to_come.discard(rank)
                # A worker that connects again was restarted, so its first connection is dead.
                if rank in self._connections:
                    self._connections.pop(rank).close()
                if "failed" in hello:
                    connection.close()
                    _raise_failure(*hello["failed"])
                self._connections[rank] = _kept_alive(connection)
                different = different or self._difference(rank, must_match, hello["must_match"])
        except TimeoutError:
            names = ", ".join(self.cluster.addresses[rank] for rank in sorted(self._to_come))
            message = f"no worker at {names} after {timeout:g} s (--peer_timeout); start all workers again"
            self._tell_failure(message, EXIT_RESTART)
            raise RestartError(message) from None
        if different:
            self._tell_failure(different, EXIT_USAGE)
            raise UsageError(different)
        self._tell(_GO)

    def _next_hello(self, listener: socket.socket, deadline: float) -> tuple[int, dict[str, Any], socket.socket]:
        """Return the next worker that says hello: its rank, what it says, and its connection.

        Raises:
            TimeoutError: If none has come at the deadline.
        """
        while True:
            listener.settimeout(max(deadline - time.monotonic(), 0.01))
            connection, _ = listener.accept()
            # A stranger that sends nothing must not keep the others waiting.
            connection.settimeout(_HELLO_SECONDS)
            with contextlib.suppress(OSError, EOFError, ValueError, KeyError, TypeError):
                hello = json.loads(_receive(connection, _LARGEST_HELLO)[1])
                if hello["rank"] in range(1, self.cluster.size) and isinstance(hello["must_match"], dict):
                    return hello["rank"], hello, connection
            connection.close()  # A port scanner, or a worker that was killed just now.

    def _difference(self, rank: int, mine: dict[str, Any], theirs: dict[str, Any]) -> str | None:
        for name in mine:
            if mine[name] != theirs.get(name):
                return (
                    f"--{name} {theirs.get(name)} on {self.cluster.name(rank)}, {mine[name]} on the chief: "
                    "give all workers the same"
                )
        return None

    def _join(self, must_match: dict[str, Any], deadline: float, timeout: float) -> None:
        """Take part in the meeting as a worker other than the chief."""
        address = self.cluster.addresses[0]
        hello = json.dumps({"rank": self.cluster.rank, "must_match": must_match}).encode()
        while True:
            try:
                connection = socket.create_connection(split_address(address), max(deadline - time.monotonic(), 0.01))
                # Longer than the chief waits for everyone, so that the chief reports who is missing.
                connection.settimeout(timeout + 10)
                _send(connection, _HELLO, hello)
                kind, payload = _receive(connection)
                break
            except (OSError, EOFError):
                if time.monotonic() + _RETRY_SECONDS > deadline:
                    raise RestartError(
                        f"no chief at {address} after {timeout:g} s (--peer_timeout); start all workers again"
                    ) from None
                threading.Event().wait(_RETRY_SECONDS)
        self._to_come.clear()
        if kind == _FAILED:
            _raise_failure(*json.loads(payload))
        self._connections[0] = _kept_alive(connection)

    def _watch(self, rank: int, connection: socket.socket) -> None:
        """Read the frames of another worker until it is gone."""
        try:
            while True:
                kind, payload = _receive(connection)
                if kind == _DATA:
                    self._data.put(payload)
                elif kind == _BYE:
                    self._gone[rank].set()
                    return
                elif kind == _FAILED:
                    code, message = json.loads(payload)
                    break
        except (OSError, EOFError):
            code, message = EXIT_RESTART, f"lost {self.cluster.name(rank)}; start all workers again to continue"
        # Only the first thread to notice reports it, also to the workers that have no connection to the lost one.
        if self._leaving.acquire(blocking=False):
            self._tell(_FAILED, json.dumps([code, message]).encode())
            exit_process(message, code)


def _raise_failure(code: int, message: str) -> NoReturn:
    """Raise what makes this process end as another worker has."""
    raise (RestartError if code == EXIT_RESTART else UsageError)(message)


def _listen(port: int) -> socket.socket:
    """Listen on all addresses of this machine, including IPv6 where it is available."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
    return socket.create_server(("", port))


def _kept_alive(connection: socket.socket) -> socket.socket:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return connection


def _send(connection: socket.socket, kind: bytes, payload: bytes = b"") -> None:
    connection.sendall(_HEADER.pack(kind, len(payload)) + payload)


def _receive(connection: socket.socket, largest: int | None = None) -> tuple[bytes, bytes]:
    """Return (kind, payload) of the next frame.

    Raises:
        EOFError: If the other side has closed the connection.
        ValueError: If the payload is longer than `largest` bytes.
    """
    kind, length = _HEADER.unpack(_receive_exactly(connection, _HEADER.size))
    if largest is not None and length > largest:
        raise ValueError(length)
    return kind, _receive_exactly(connection, length)


def _receive_exactly(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        chunk = connection.recv(min(count - len(parts), 1 << 20))
        if not chunk:
            raise EOFError
        parts += chunk
    return bytes(parts)
