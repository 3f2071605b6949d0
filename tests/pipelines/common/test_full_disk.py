"""A full disk is known by whatever a library or a runner makes of it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pipelines.common.full_disk import DiskFullError, disk_full, no_room


def test_the_line_names_the_place_and_the_bytes_that_are_missing(tmp_path: Path) -> None:
    place = str(tmp_path / "new" / "a.pack")
    assert str(no_room(place)) == f"{place}: the disk is full; make room there; the same command starts again"
    line = str(no_room(place, 1 << 60))
    assert line.startswith(f"{place}: the disk is full: 1,1")
    assert line.endswith(" bytes are missing; make room there; the same command starts again")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_an_error_of_the_system_is_one_also_behind_another(number: int) -> None:
    later = ValueError("later")
    later.__cause__ = OSError(number, "no room", "/data/a.bin")
    for error in (later.__cause__, later):
        assert str(disk_full(error)).startswith("/data/a.bin: the disk is full")


def test_what_a_runner_says_of_a_worker_holds_the_line() -> None:
    line = str(no_room("/data/b c.pack", 1 << 60))
    text = f"Traceback (most recent call last):\n  File ...\nx.DiskFullError: {line} [while running 'Write']\n"
    for error in (RuntimeError(text), DiskFullError(f"{line} [while running 'Write']")):
        assert str(disk_full(error)) == line


def test_a_library_that_says_no_more_than_the_system_did_leaves_the_place_open() -> None:
    assert "with " in str(disk_full(RuntimeError("write failed; No space left on device")))


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "denied", "/data"), ValueError("disk"), KeyError()])
def test_other_errors_are_none(error: Exception) -> None:
    assert disk_full(error) is None
