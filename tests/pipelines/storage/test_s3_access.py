"""Buckets on S3 without credentials: those that are open are read, all others are refused in one line."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

from pipelines.beam.runner import beam_options
from pipelines.common.cli import UsageError
from pipelines.storage import filesystem
from pipelines.storage.access import require_readable, require_writable
from tests.support.s3 import CREDENTIALS, local_s3

BUCKET = "open"


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The endpoint of a bucket with an object that everyone may read, for whoever has no credentials."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with local_s3(BUCKET) as endpoint:
        client = boto3.client("s3", endpoint_url=endpoint)
        client.put_object(Bucket=BUCKET, Key="in/a.jpg", Body=b"first", ACL="public-read")
        client.put_object(Bucket=BUCKET, Key="in/private.jpg", Body=b"second")
        for name in CREDENTIALS:
            monkeypatch.delenv(name)
        # Nor those of this machine.
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        beam_options(["--s3_endpoint_url", endpoint])
        yield endpoint
        beam_options([])


@pytest.mark.usefixtures("endpoint")
def test_what_everyone_may_read_is_read() -> None:
    assert require_readable("--input", f"s3://{BUCKET}/in") == []
    assert filesystem.match(f"s3://{BUCKET}/in/*") == [f"s3://{BUCKET}/in/a.jpg", f"s3://{BUCKET}/in/private.jpg"]
    assert filesystem.read_bytes(f"s3://{BUCKET}/in/a.jpg") == b"first"


@contextlib.contextmanager
def refusing(code: str, message: str) -> Iterator[str]:
    """A store that refuses every request; gives its endpoint."""
    content = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()

    class Refuse(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.usefixtures("endpoint")
def test_a_bucket_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match=r"^--input s3://none/in: there is no bucket none; see its spelling"):
        require_readable("--input", "s3://none/in")


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize("require", [require_readable, require_writable])
def test_a_bucket_that_is_not_open_says_that_credentials_are_missing(
    require: Callable[[str, str], object],
) -> None:
    with refusing("AccessDenied", "Access Denied") as endpoint:
        beam_options(["--s3_endpoint_url", endpoint])
        with pytest.raises(UsageError, match=r"^--x s3://b: no credentials for S3, and b is not open to ev"):
            require("--x", "s3://b")


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize(
    ("code", "said", "text"),
    [
        (
            "InvalidAccessKeyId",
            "No such key",
            r"S3 does not accept the credentials \(No such key\); set AWS",
        ),
        ("AccessDenied", "Access Denied", r"may not list objects in b \(Access Denied\); ask for s3:ListBucket"),
    ],
)
def test_credentials_that_are_refused(monkeypatch: pytest.MonkeyPatch, code: str, said: str, text: str) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with refusing(code, said) as endpoint:
        beam_options(["--s3_endpoint_url", endpoint])
        with pytest.raises(UsageError, match=f"^--input s3://b/in: {text}"):
            require_readable("--input", "s3://b/in")


@pytest.mark.usefixtures("endpoint")
def test_a_store_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    beam_options(["--s3_endpoint_url", "http://127.0.0.1:9"])
    with pytest.raises(UsageError, match=r"S3 does not answer .*; see the network, AWS_ENDPOINT_URL"):
        require_readable("--input", f"s3://{BUCKET}")
