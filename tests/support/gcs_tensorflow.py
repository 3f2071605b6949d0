"""TensorFlow's own gs:// on the local bucket: it knows Google's addresses only, but takes a proxy."""

from __future__ import annotations

import contextlib
import http.client
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from tests.support.tls import answering

_HOSTS = ("www.googleapis.com", "storage.googleapis.com")
# Of one connection, not of the message.
_HOP = {"connection", "content-length", "host", "keep-alive", "proxy-connection", "transfer-encoding", "expect"}


@contextlib.contextmanager
def tensorflow_gcs(folder: Path, storage: str) -> Iterator[dict[str, str]]:
    """Pass on what TensorFlow asks of Google to the storage at a URL; gives the environment for it."""
    place = urllib.parse.urlsplit(storage).netloc

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(place)
        try:
            kept = {name: value for name, value in headers.items() if name.lower() not in _HOP}
            connection.request(method, path, body, kept)
            found = connection.getresponse()
            passed = {name: value for name, value in found.getheaders() if name.lower() not in _HOP}
            return found.status, passed, found.read()
        finally:
            connection.close()

    with answering(folder, _HOSTS, answer) as (proxy, certificate):
        yield {
            "https_proxy": proxy,
            "no_proxy": "127.0.0.1,localhost",
            "CURL_CA_BUNDLE": str(certificate),
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "test",
        }
