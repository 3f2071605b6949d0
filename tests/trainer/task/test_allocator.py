"""Freed memory stays with the process, unless the user has chosen otherwise."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Prints whether the allocator was changed, and how many KiB of 64 MiB are still resident after they were freed.
PROGRAM = """
import ctypes, sys
from trainer.task.allocator import keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4

changed = keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
before = resident()
block = libc.malloc(ctypes.c_size_t(64 << 20))
ctypes.memset(block, 1, 64 << 20)
libc.free(ctypes.c_void_p(block))
print(changed, resident() - before)
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these thresholds")


def allocated(tunables: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env={"GLIBC_TUNABLES": tunables}
    )
    changed, kept = done.stdout.split()
    return changed, int(kept)


def test_freed_memory_is_kept_for_the_next_step() -> None:
    changed, kept = allocated("")
    assert changed == "True"
    assert kept > 60 << 10


def test_the_users_own_tunables_are_left_alone() -> None:
    changed, kept = allocated("glibc.malloc.mmap_threshold=1048576")
    assert changed == "False"
    assert kept < 4 << 10
