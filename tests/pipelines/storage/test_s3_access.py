"""Buckets on S3 without credentials: those that are open are read, all others are refused in one line."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
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


@pytest.mark.usefixtures("endpoint")
def test_a_bucket_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="^--input s3://none/in: there is no bucket none; see its spelling"):
        require_readable("--input", "s3://none/in")


def test_a_bucket_that_is_not_open_says_that_credentials_are_missing(endpoint: str) -> None:
    # From now on the server wants credentials of every request.
    with urllib.request.urlopen(f"{endpoint}/moto-api/reset-auth", b"0"):
        pass
    for require in (require_readable, require_writable):
        with pytest.raises(
            UsageError, match="^--output s3://open: no credentials for S3, and open is not open to every"
        ):
            require("--output", f"s3://{BUCKET}")


def test_credentials_that_are_refused_and_a_server_that_is_gone(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with urllib.request.urlopen(f"{endpoint}/moto-api/reset-auth", b"0"):
        pass
    with pytest.raises(UsageError, match=f"^--input s3://{BUCKET}: S3 does not accept the credentials"):
        require_readable("--input", f"s3://{BUCKET}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    beam_options(["--s3_endpoint_url", "http://127.0.0.1:9"])
    with pytest.raises(UsageError, match="S3 does not answer .*; see the network, AWS_ENDPOINT_URL"):
        require_readable("--input", f"s3://{BUCKET}")
