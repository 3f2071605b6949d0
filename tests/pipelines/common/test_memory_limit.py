"""The memory that a process may use is that of its machine, of its container, or of a group around it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from pipelines.common.argument_parser import ArgumentParser
from pipelines.common.cli import UsageError
from pipelines.common.memory_limit import add_memory_budget, memory_limit

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
MB = 1 << 20


def tree(root: Path, groups: str, **limits: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for place, limit in limits.items():
        file = root / "sys/fs/cgroup" / place.replace("__", "/").replace("_MAX", "memory.max")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(limit + "\n")
    return root


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("0::/\n", {"_MAX": str(600 * MB)}, 600 * MB),
        ("0::/\n", {"_MAX": "max"}, MACHINE),
        # The service has none of its own, the slice around it has.
        ("0::/a/b\n", {"a__b___MAX": "max", "a___MAX": str(300 * MB)}, 300 * MB),
        # The path is that on the host, which a container does not see.
        ("0::/docker/0123\n", {"_MAX": str(512 * MB)}, 512 * MB),
        ("3:cpu:/x\n2:memory:/x\n0::/\n", {"memory__x__memory.limit_in_bytes": str(400 * MB)}, 400 * MB),
        ("2:memory:/\n", {"memory__memory.limit_in_bytes": str(2**63 - 4096)}, MACHINE),
        ("", {}, MACHINE),
    ],
)
def test_the_smallest_limit_counts(tmp_path: Path, groups: str, limits: dict[str, str], expected: int) -> None:
    assert memory_limit(tree(tmp_path, groups, **limits)) == expected


def test_without_control_groups_the_machine_counts(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) == MACHINE
    assert 0 < memory_limit() <= MACHINE


def test_a_budget_is_a_size_with_or_without_a_unit() -> None:
    parser = ArgumentParser()
    add_memory_budget(parser)

    def parsed(text: str) -> argparse.Namespace:
        return parser.parse_args(["--memory_budget", text])

    sizes = {"512MB": 512 * MB, "2G": 2048 * MB, "1.5GiB": 1536 * MB, "1048576": MB, "64 kb": 64 << 10, "0": 0}
    assert {text: parsed(text).memory_budget for text in sizes} == sizes
    for wrong in ("much", "-5MB", "5 apples", ""):
        with pytest.raises(UsageError, match=f"--memory_budget {wrong}: a size such as 512MB or 2GB is needed"):
            parser.parse_args([f"--memory_budget={wrong}"])
