"""Whole objects under faults: what is read is what is stored, what is written is there once, and errors say which."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.api_core.exceptions import TooManyRequests

from pipelines.common.gcs_client import (
    ServiceUnavailable,
    default_retry,
    delete_objects,
    read_object,
    require_service,
    write_object,
)
from pipelines.sources.list_files import list_files
from pipelines.storage import filesystem
from pipelines.storage.file_versions import versions_of
from tests.support.gcs import Environment, local_gcs, open_bucket
from tests.support.gcs_faults import (
    AlterAnswer,
    CutAnswer,
    CutRequest,
    Fault,
    LoseAnswer,
    Plan,
    Refuse,
    RefuseOneOfBatch,
    Rule,
)

BUCKET = "objects"
ROOT = f"gs://{BUCKET}"
CONTENT = random.Random(0).randbytes(300_000)
READ, WRITE, SEND, LOOK = r"^GET /download/", r"^POST /upload/", r"^PUT /upload/", r"^GET /storage/v1/b/objects/o/"
LIST, BATCH = r"^GET /storage/v1/b/objects/o\?", r"^POST /batch/"
# As patient as the usual one, in shorter time.
QUICK = {"initial": 0.01, "maximum": 0.05}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with local_gcs(tmp_path_factory.mktemp("gcs"), BUCKET) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield environment


@pytest.fixture
def fail(served: Environment) -> Iterator[Callable[..., Any]]:
    """Says what is to go wrong with requests that fit a pattern; gives how often that was."""

    def plan(pattern: str, *faults: Fault | None) -> Counter[str]:
        served.faults = Plan(Rule("fault", pattern, faults))
        return served.faults.struck

    yield plan
    served.faults = Plan()


@pytest.fixture
def bucket(served: Environment) -> Any:
    """An empty bucket."""
    opened = open_bucket(served, BUCKET)
    for blob in list(opened.list_blobs()):
        blob.delete()
    return opened


def retry() -> Any:
    return default_retry().with_delay(**QUICK)


def put(bucket: Any, *names: str) -> None:
    for name in names:
        bucket.blob(name).upload_from_string(CONTENT)


def names(bucket: Any) -> list[str]:
    return [blob.name for blob in bucket.list_blobs()]


@pytest.mark.parametrize(
    "faults",
    [
        [Refuse(429), Refuse(503), Refuse(500), Refuse(408)],
        [CutAnswer(0), CutAnswer(100), CutAnswer(70_000), Refuse(503), LoseAnswer()],
    ],
)
def test_an_object_is_read_whole_whatever_fails_on_the_way(
    bucket: Any, fail: Callable[..., Any], faults: list[Any]
) -> None:
    put(bucket, "a.jpg")
    struck = fail(READ, *faults)
    assert read_object(f"{ROOT}/a.jpg", retry()) == CONTENT
    assert struck.total() == len(faults)


def test_an_empty_object_is_read_and_a_missing_one_is_not_found(bucket: Any, served: Environment) -> None:
    bucket.blob("empty.jpg").upload_from_string(b"")
    served.requests.clear()
    assert read_object(f"{ROOT}/empty.jpg") == b""
    assert len([request for request in served.requests if "empty.jpg" in request]) == 1
    with pytest.raises(FileNotFoundError, match=f"{ROOT}/missing.jpg: 404"):
        read_object(f"{ROOT}/missing.jpg")
    assert filesystem.read_if_exists(f"{ROOT}/missing.jpg") is None


def test_bytes_that_change_on_their_way_are_asked_for_again(bucket: Any, fail: Callable[..., Any]) -> None:
    put(bucket, "a.jpg")
    struck = fail(READ, AlterAnswer(), AlterAnswer())
    assert read_object(f"{ROOT}/a.jpg", retry()) == CONTENT
    assert struck.total() == 2
    fail(READ, *[AlterAnswer()] * 9)
    with pytest.raises(OSError, match="checksum"):
        read_object(f"{ROOT}/a.jpg", retry())


def test_one_object_that_stays_unreadable_is_no_fault_of_the_service(bucket: Any, fail: Callable[..., Any]) -> None:
    put(bucket, "a.jpg", "b.jpg")
    short = retry().with_timeout(0.2)
    fail(r"^GET /download/.*a\.jpg", *[Refuse(503)] * 999)
    with pytest.raises(OSError, match=f"{ROOT}/a.jpg: "):
        read_object(f"{ROOT}/a.jpg", short)
    assert read_object(f"{ROOT}/b.jpg", short) == CONTENT
    fail(r"^GET /download/.*a\.jpg", Refuse(403, "no storage.objects.get access"))
    with pytest.raises(PermissionError, match=f"{ROOT}/a.jpg: 403 .*storage.objects.get"):
        read_object(f"{ROOT}/a.jpg", short)


def test_a_service_that_does_not_answer_is_said_to_be_so(bucket: Any, fail: Callable[..., Any]) -> None:
    put(bucket, "a.jpg")
    fail("", *[Refuse(503, "backend error")] * 999)
    short = retry().with_timeout(0.2)
    with pytest.raises(ServiceUnavailable, match=f"does not answer for {ROOT}"):
        read_object(f"{ROOT}/a.jpg", short)
    with pytest.raises(ServiceUnavailable):
        require_service(f"{ROOT}/a.zip", TooManyRequests("too many"), short)
    require_service(f"{ROOT}/a.zip", ValueError("damaged"), short)
    require_service("s3://other/a.zip", TooManyRequests("too many"), short)
    fail("", Refuse(404))
    require_service(f"{ROOT}/a.zip", TooManyRequests("too many"), short)


@pytest.mark.parametrize("fault", [Refuse(503), Refuse(429), CutRequest(), LoseAnswer(), CutAnswer()])
def test_an_object_is_written_whole_whatever_fails_on_the_way(
    bucket: Any, fail: Callable[..., Any], fault: Any
) -> None:
    struck = fail(WRITE, fault)
    write_object(f"{ROOT}/a.bin", CONTENT, retry())
    assert bucket.blob("a.bin").download_as_bytes() == CONTENT
    assert struck.total() == 1


@pytest.mark.parametrize("fault", [Refuse(503), CutRequest(), LoseAnswer()])
def test_a_large_object_is_written_whole_whatever_fails_on_the_way(
    bucket: Any, fail: Callable[..., Any], fault: Any
) -> None:
    """Beyond 8 MiB an upload has a session, which the store may have closed when its answer was lost."""
    struck = fail(SEND, fault)
    much = CONTENT * 30
    write_object(f"{ROOT}/a.bin", much, retry())
    assert bucket.blob("a.bin").download_as_bytes() == much
    assert struck.total() == 1


def test_objects_are_listed_and_looked_up_whatever_fails_on_the_way(bucket: Any, fail: Callable[..., Any]) -> None:
    put(bucket, "x/a.jpg", "x/b.jpg")
    bucket.blob("x/").upload_from_string(b"")
    struck = fail(LIST, CutAnswer(), Refuse(503))
    assert sorted(file.relative for file in list_files(f"{ROOT}/x")) == ["a.jpg", "b.jpg"]
    assert struck.total() >= 2
    struck = fail(BATCH, Refuse(503), RefuseOneOfBatch(), CutAnswer())
    found = versions_of([f"{ROOT}/x/a.jpg", f"{ROOT}/x/b.jpg", f"{ROOT}/x/missing.jpg"])
    assert [state.size for state in found] == [len(CONTENT), len(CONTENT), 0]
    assert all(state.version for state in found[:2])
    assert struck.total() == 3


def test_objects_are_renamed_and_deleted_whatever_fails_on_the_way(bucket: Any, fail: Callable[..., Any]) -> None:
    put(bucket, "old/a.bin", "old/deep/b.bin")
    struck = fail(BATCH, Refuse(503), LoseAnswer(), None, RefuseOneOfBatch())
    filesystem.move_files(f"{ROOT}/old", f"{ROOT}/new", sorted(filesystem.list_tree(f"{ROOT}/old")))
    assert names(bucket) == ["new/a.bin", "new/deep/b.bin"]
    assert bucket.blob("new/deep/b.bin").download_as_bytes() == CONTENT
    assert struck.total() == 3
    struck = fail(BATCH, LoseAnswer(), RefuseOneOfBatch())
    delete_objects([f"{ROOT}/new/a.bin", f"{ROOT}/missing.bin"])
    assert names(bucket) == ["new/deep/b.bin"]
    assert struck.total() == 2
    fail(BATCH, RefuseOneOfBatch(403))
    with pytest.raises(PermissionError, match=f"{ROOT}/new/deep/b.bin: 403"):
        delete_objects([f"{ROOT}/new/deep/b.bin"])


def test_what_stands_for_a_folder_is_no_file_and_goes_with_its_folder(bucket: Any) -> None:
    put(bucket, "out/deep/a.bin", "out/deep/variables/b.bin", "out/mine/c.bin")
    for name in ("out/", "out/deep/", "out/deep/variables/", "out/mine/", "out/other/"):
        bucket.blob(name).upload_from_string(b"")
    assert sorted(filesystem.list_tree(f"{ROOT}/out")) == ["deep/a.bin", "deep/variables/b.bin", "mine/c.bin"]
    filesystem.move_files(f"{ROOT}/out/deep", f"{ROOT}/new", sorted(filesystem.list_tree(f"{ROOT}/out/deep")))
    assert names(bucket)[:2] == ["new/a.bin", "new/variables/b.bin"]
    filesystem.delete_files(f"{ROOT}/out", ["deep/variables/b.bin"])
    assert names(bucket)[2:] == ["out/", "out/mine/", "out/mine/c.bin", "out/other/"]
    filesystem.clear_folder(f"{ROOT}/out", "claim.json")
    assert names(bucket) == ["new/a.bin", "new/variables/b.bin"]
