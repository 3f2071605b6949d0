"""Temporary folders of commands that were killed are removed by the next, and no others."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipelines.common.owned_folder import owned_folder

KILLED = """
import os, sys
from pipelines.common.owned_folder import owned_folder
with owned_folder(sys.argv[1]) as folder:
    (folder / "weights").write_bytes(b"1")
    print(folder, flush=True)
    sys.stdin.readline()
    os._exit(75)
"""


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_a_folder_is_empty_and_gone_when_its_block_ends(tmp_path: Path) -> None:
    with owned_folder("train") as folder:
        assert list(folder.iterdir()) == []
        (folder / "x").mkdir()
        assert folder.is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_process_that_is_gone_is_removed_by_the_next_of_its_kind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, "train"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    left = Path(process.stdout.readline().strip())
    with owned_folder("train"):
        assert (left / "weights").exists()
    process.communicate("")
    with owned_folder("evaluate"):
        assert (left / "weights").exists()
    with owned_folder("train"):
        assert not left.parent.exists()


def test_what_does_not_say_whose_it_is_is_left_alone(tmp_path: Path) -> None:
    for name, owner in (("a", None), ("b", "{"), ("c", json.dumps({"number": 1})), ("d", "[]")):
        folder = tmp_path / f"lesions-train-{name}"
        folder.mkdir()
        if owner is not None:
            (folder / "owner.json").write_text(owner)
    with owned_folder("train"):
        assert len(list(tmp_path.glob("lesions-train-[abcd]"))) == 4
