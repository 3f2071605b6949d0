"""How much memory this process may use, the machine's or its container's, and how much of it images may take."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipelines.common.cli import UsageError

# A limit of version 1 that stands for none is almost 2**63.
_NONE = 1 << 60
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def add_memory_budget(parser: argparse._ActionsContainer) -> None:
    """Add the option for the memory that images may take."""
    parser.add_argument(
        "--memory_budget",
        type=_budget,
        default=0,
        metavar="SIZE",
        help="memory that large images take at once in each worker process, such as 512MB or 2GB; one that needs more "
        "is read and decoded alone; 0: 256MB, or a sixteenth of the machine's or container's memory if that is less",
    )


def _budget(text: str) -> int:
    """Return a number of bytes written as `512MB`, `2G` or `1048576`, in powers of 1024."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise UsageError(f"--memory_budget {text}: a size such as 512MB or 2GB is needed")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def memory_limit(root: Path = Path("/")) -> int:
    """Return the bytes of memory that this process may use at most.

    Args:
        root: Where `proc` and `sys` lie.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_control_groups(root)])


def _control_groups(root: Path) -> Iterator[int]:
    """Yield the limits of the control groups that this process is in, and of those around them."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            base, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container its own group is the topmost, while the path may be that on the host.
        path = PurePosixPath(group.lstrip("/"))
        for folder in (path, *path.parents):
            try:
                limit = (base / folder / name).read_text().strip()
            except OSError:
                continue
            if limit.isdigit() and int(limit) < _NONE:
                yield int(limit)
