"""One of several programs changes a file on a disk, also where the disk or another program makes it hard."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.common import exclusive_file


def content(path: str) -> bytes | None:
    found = exclusive_file.read(path)
    return found and found.content


def test_renewing_a_file_makes_its_time_now(tmp_path: Path) -> None:
    path = tmp_path / "claim.json"
    assert exclusive_file.create(str(path), b"a")
    os.utime(path, (1, 1))
    found = exclusive_file.read(str(path))
    assert found is not None
    assert found.written == 1
    before = exclusive_file.clock(str(path))
    assert exclusive_file.renew(str(path), b"a")
    found = exclusive_file.read(str(path))
    assert found is not None
    assert before <= found.written <= exclusive_file.clock(str(path))


def test_what_is_stopped_in_the_middle_of_a_change_keeps_others_from_it(tmp_path: Path) -> None:
    path = str(tmp_path / "claim.json")
    exclusive_file.create(path, b"a")
    with exclusive_file._locked(path, b"a") as is_expected:
        assert is_expected
        assert not exclusive_file.replace(path, b"a", b"b")
    assert exclusive_file.replace(path, b"a", b"b")


def test_a_filesystem_without_hard_links_has_the_file_once_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    path = str(tmp_path / "claim.json")
    assert exclusive_file.create(path, b"a")
    assert not exclusive_file.create(path, b"b")
    assert content(path) == b"a"
    assert os.listdir(tmp_path) == ["claim.json"]


def test_below_a_file_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert exclusive_file.read(str(tmp_path / "file" / "claim.json")) is None
