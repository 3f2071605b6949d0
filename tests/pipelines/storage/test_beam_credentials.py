"""Buckets on gs:// without credentials: what everyone may read is read, by our own client and by Beam's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from apache_beam.internal.gcp import auth

from pipelines.beam.runner import beam_options
from pipelines.common import gcs_client as gcs_clients
from pipelines.common.gcs_client import gcs_client
from pipelines.common.gcs_credentials import is_anonymous, missing_credentials
from pipelines.storage import filesystem
from pipelines.storage.access import require_readable
from tests.support.gcs import Environment, local_gcs, open_bucket, service_account

BUCKET = "open"
PLACE = f"gs://{BUCKET}/in/a.jpg"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """A bucket with an object."""
    with local_gcs(tmp_path_factory.mktemp("gcs"), BUCKET) as environment:
        open_bucket(environment, BUCKET).blob("in/a.jpg").upload_from_string(b"first")
        yield environment


@pytest.fixture
def nobody(served: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A user of Google's own service without credentials: to an emulator, the client goes without them anyway."""
    monkeypatch.setenv("API_ENDPOINT_OVERRIDE", served["STORAGE_EMULATOR_HOST"])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    # Beam keeps the first that it finds in a process.
    monkeypatch.setattr(auth._Credentials, "_credentials_init", False)
    monkeypatch.setattr(auth._Credentials, "_credentials", None)
    beam_options([])
    yield
    beam_options([])
    # Of a key that nobody else has.
    gcs_clients._client.cache_clear()


def read_in_all_ways() -> None:
    """Read the object and list it, by our own client and by Beam's."""
    assert require_readable("--input", f"gs://{BUCKET}/in") == [PLACE]
    assert filesystem.read_bytes(PLACE) == b"first"
    assert filesystem.match(f"gs://{BUCKET}/in/*") == [PLACE]
    with filesystem.open_exact(PLACE) as file:
        assert file.read(3) == b"fir"


@pytest.mark.usefixtures("nobody")
def test_what_everyone_may_read_is_read_without_credentials() -> None:
    assert missing_credentials() == "Your default credentials were not found"
    assert is_anonymous()
    read_in_all_ways()


@pytest.mark.usefixtures("nobody")
def test_credentials_are_left_alone_if_beam_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Whoever signed with it would be refused: there is no server of tokens at that port.
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service_account(tmp_path, 9)))
    assert not is_anonymous()
    signed = gcs_client()
    beam_options(["--no_auth"])
    assert is_anonymous()
    assert gcs_client() is not signed
    read_in_all_ways()
    beam_options([])
    assert gcs_client() is signed


@pytest.mark.usefixtures("nobody")
def test_a_key_file_that_is_named_is_meant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    assert (missing_credentials(), is_anonymous()) == ("", False)
