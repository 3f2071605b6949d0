"""Copies between a folder and a bucket: whole, compared, tried again, and never somebody else's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.common.cli import UsageError
from pipelines.common.gcs_folder import GcsFolder, crc32c
from tests.support.gcs import local_gcs, open_bucket
from tests.support.gcs_proxy import Door, door, once

PLACE = "gs://transfers/run"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Door, Any]]:
    """The door to a bucket that this process finds, and the bucket."""
    with local_gcs(tmp_path, "transfers") as environment, door(environment["STORAGE_EMULATOR_HOST"]) as opened:
        for name, value in {**environment, "STORAGE_EMULATOR_HOST": opened.url}.items():
            monkeypatch.setenv(name, value)
        yield opened, open_bucket(environment, "transfers")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Names and files: one that is sent in parts, one that is not, one without a byte."""
    contents = {"large.bin": os.urandom(9 << 20), "deep/er/small.txt": b"small", "empty": b""}
    for number, content in enumerate(contents.values()):
        (tmp_path / str(number)).write_bytes(content)
    return {name: tmp_path / str(number) for number, name in enumerate(contents)}


def written(bucket: Any) -> dict[str, bytes]:
    return {blob.name: blob.download_as_bytes() for blob in bucket.client.list_blobs(bucket)}


def assert_sent(bucket: Any, files: dict[str, Path]) -> None:
    assert written(bucket) == {f"run/{name}": path.read_bytes() for name, path in files.items()}


def assert_fetched(files: dict[str, Path], target: Path) -> None:
    found = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert found == {name: path.read_bytes() for name, path in files.items()}


def test_there_and_back_and_only_once(store: tuple[Door, Any], files: dict[str, Path], tmp_path: Path) -> None:
    opened, bucket = store
    folder = GcsFolder(PLACE, "--output")
    assert folder.list() == set()
    folder.require_writable()
    assert folder.list() == set()
    folder.upload(files)
    assert_sent(bucket, files)

    again = GcsFolder(PLACE + "/", "--output")
    assert again.list() == set(files)
    assert again.download(files, tmp_path / "copy") == 3
    assert_fetched(files, tmp_path / "copy")
    assert again.read("deep/er/small.txt") == b"small"

    asked = []
    opened.passed = lambda method, path: asked.append(path)
    again.upload(files)
    assert again.download(files, tmp_path / "copy") == 0
    assert asked == []
    # A copy that is as long as the object but not the same is not taken for it.
    (tmp_path / "copy/deep/er/small.txt").write_bytes(b"smalL")
    assert again.download(files, tmp_path / "copy") == 1
    assert_fetched(files, tmp_path / "copy")

    again.delete(files)
    assert written(bucket) == {}


def test_what_says_that_all_is_there_comes_last(store: tuple[Door, Any], files: dict[str, Path]) -> None:
    opened, _ = store
    order = []

    def note(method: str, path: str) -> None:
        if method == "PUT" or "uploadType=multipart" in path:
            order.append(frozenset(written(store[1])))

    opened.passed = note
    GcsFolder(PLACE, "--output").upload({"done": b"1", "done2": b"2", **files}, last=["done", "done2"])
    assert order[-2:] == [
        {f"run/{name}" for name in (*files, "done")},
        {f"run/{name}" for name in (*files, "done", "done2")},
    ]


@pytest.mark.parametrize("fault", [503, 429, "lost"])
def test_an_upload_survives_what_a_network_does(
    store: tuple[Door, Any], files: dict[str, Path], fault: int | str
) -> None:
    opened, bucket = store
    failed = []
    faulty = once(fault, "POST /upload")

    def fault_of(method: str, path: str) -> int | str | None:
        found = faulty(method, path)
        failed.extend([found] * bool(found))
        return found

    opened.fault = fault_of
    GcsFolder(PLACE, "--output").upload(files)
    assert failed
    assert_sent(bucket, files)


@pytest.mark.parametrize("fault", [503, 429, "cut", "lost"])
def test_a_download_survives_what_a_network_does(
    store: tuple[Door, Any], files: dict[str, Path], tmp_path: Path, fault: int | str
) -> None:
    opened, _ = store
    folder = GcsFolder(PLACE, "--dataset")
    folder.upload(files)
    opened.fault = once(fault, "GET /download")
    assert folder.download(files, tmp_path / "copy") == 3
    assert_fetched(files, tmp_path / "copy")


def test_what_is_replaced_after_the_listing_is_not_mixed_up(store: tuple[Door, Any], tmp_path: Path) -> None:
    _, bucket = store
    folder = GcsFolder(PLACE, "--dataset")
    folder.upload({"a": b"right"})
    assert folder.read("a") == b"right"
    # Somebody replaces the object between the listing and the reading of it.
    bucket.blob("run/a").upload_from_string(b"other")
    with pytest.raises(UsageError, match=r"--dataset gs://transfers/run: .* another program has changed it"):
        folder.download(["a"], tmp_path)
    assert not (tmp_path / "a").exists()
    assert folder.list() == {"a"}
    folder.download(["a"], tmp_path)
    assert (tmp_path / "a").read_bytes() == b"other"


def test_what_another_program_wrote_is_not_overwritten(store: tuple[Door, Any]) -> None:
    _, bucket = store
    folder = GcsFolder(PLACE, "--output")
    folder.upload({"a": b"ours"})
    bucket.blob("run/a").upload_from_string(b"theirs")
    with pytest.raises(UsageError, match="another program has changed it; run one at a time"):
        folder.upload({"a": b"ours again"})
    assert written(bucket) == {"run/a": b"theirs"}


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "Google does not accept the credentials"),
        (403, "ask for roles/storage.objectUser there"),
        (404, "there is no bucket transfers"),
    ],
)
def test_what_the_user_must_mend_is_said_in_one_line(store: tuple[Door, Any], status: int, says: str) -> None:
    opened, bucket = store
    opened.fault = lambda method, path: status
    folder = GcsFolder(PLACE, "--output")
    for call in (folder.list, folder.require_writable, lambda: folder.upload({"a": b"1"})):
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value).startswith(f"--output {PLACE}: ")
        assert says in str(error.value)
        assert "\n" not in str(error.value)
    opened.fault = lambda method, path: None
    assert written(bucket) == {}


def test_missing_credentials_are_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from google.auth.exceptions import DefaultCredentialsError

    from pipelines.common.gcs_folder import explain

    error = explain(DefaultCredentialsError("none"), "--output gs://b/o", "b", "list")
    assert isinstance(error, UsageError)
    assert "no credentials for Google Cloud" in str(error)


def test_a_place_without_a_bucket_is_refused_by_its_option(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--dataset gs://: names no bucket"):
        GcsFolder("gs://", "--dataset")


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "a/../../escaped"])
def test_an_object_that_would_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}' cannot be the name of a file"):
        GcsFolder(PLACE, "--model").download([name], tmp_path / "copy")


def test_the_checksum_is_that_of_the_store(store: tuple[Door, Any], tmp_path: Path) -> None:
    _, bucket = store
    (tmp_path / "file").write_bytes(b"123456789")
    blob = bucket.blob("x")
    blob.upload_from_string(b"123456789")
    # The check value of CRC-32C: E3069283.
    assert crc32c(tmp_path / "file") == crc32c(b"123456789") == blob.crc32c == "4waSgw=="
