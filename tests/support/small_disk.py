"""A disk of a few kilobytes, to fill."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def _mount(*arguments: object) -> subprocess.CompletedProcess[str]:
    as_root = ["sudo", "-n"] if os.geteuid() and shutil.which("sudo") else []
    return subprocess.run([*as_root, *map(str, arguments)], check=False, capture_output=True, text=True)


class SmallDisk:
    """A disk in memory.

    Attributes:
        path: Where it is mounted.
    """

    def __init__(self, path: Path):
        self.path = path

    def resize(self, kilobytes: int) -> None:
        """Give it another size."""
        done = _mount("mount", "-o", f"remount,size={kilobytes}k", self.path)
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def small_disk(path: Path, kilobytes: int) -> Iterator[SmallDisk]:
    """Mount a disk; skip the test outside CI where that is not allowed."""
    path.mkdir()
    done = _mount("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,mode=777", "tmpfs", path)
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    try:
        yield SmallDisk(path)
    finally:
        _mount("umount", "-l", path)
