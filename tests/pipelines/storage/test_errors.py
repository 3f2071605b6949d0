"""What every filesystem does alike: errors of one kind, and files that appear whole."""

from __future__ import annotations

import concurrent.futures
import pickle
from pathlib import Path
from typing import Any

import pytest

from pipelines.common.gcs_client import ServiceUnavailable
from pipelines.storage import filesystem
from pipelines.storage.errors import StorageError, storage_errors


@pytest.mark.parametrize("read", [filesystem.read_bytes, filesystem.open_file, filesystem.open_exact])
@pytest.mark.parametrize(
    ("name", "says"), [("none", "FileNotFoundError: No such file or directory"), ("nul\0", "ValueError: embedded null")]
)
def test_what_cannot_be_opened_is_a_storage_error_with_the_kind_and_reason(
    tmp_path: Path, read: Any, name: str, says: Any
) -> None:
    with pytest.raises(StorageError, match=f"^{says}"):
        read(f"{tmp_path}/{name}")


def test_a_filesystem_that_does_not_exist_is_a_storage_error() -> None:
    for ask in (filesystem.exists, filesystem.match, filesystem.read_bytes, filesystem.read_if_exists):
        with pytest.raises(StorageError, match=r"^ValueError: Unable to get filesystem"):
            ask("nowhere://x")


def test_an_error_while_an_open_file_is_read_is_a_storage_error() -> None:
    with (
        pytest.raises(StorageError, match=r"^OSError: Input/output error"),
        filesystem.open_file("/proc/self/mem") as file,
    ):
        file.read(1)


def test_a_storage_error_keeps_kind_reason_and_text_when_it_is_sent_to_another_process(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        filesystem.read_bytes(f"{tmp_path}/none")
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.kind, error.reason) == ("FileNotFoundError", "No such file or directory")
    assert error.text == f"[Errno 2] No such file or directory: '{tmp_path}/none'"
    assert str(error) == "FileNotFoundError: No such file or directory"


@pytest.mark.parametrize("error", [ServiceUnavailable("down"), TypeError("ours"), AttributeError("ours")])
def test_an_outage_and_a_programming_error_pass_as_they_are(error: Any) -> None:
    with pytest.raises(type(error)) as caught, storage_errors():
        raise error
    assert caught.value is error


def test_an_error_without_a_message_is_told_by_its_kind() -> None:
    with pytest.raises(StorageError) as caught, storage_errors():
        raise TimeoutError
    assert (caught.value.summary, caught.value.text) == ("TimeoutError", "TimeoutError")


def test_threads_that_write_one_file_leave_it_whole_and_nothing_else(tmp_path: Path) -> None:
    contents = [bytes([number]) * 100_000 for number in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: filesystem.write_bytes(f"{tmp_path}/a", content), contents * 20))
    assert (tmp_path / "a").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
