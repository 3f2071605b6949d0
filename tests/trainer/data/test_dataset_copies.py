"""Copies of datasets are listed, and removed unless a process uses them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from trainer.data.dataset_copies import copies_in, main

HOLD = """
import pathlib, sys
from trainer.data.dataset_copies import hold
hold(pathlib.Path(sys.argv[1]))
print("held", flush=True)
input()
"""


def test_copies_are_removed_but_not_while_a_process_uses_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["0" * 16, "gs-" + "1" * 16, "notes"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.tfrecord").write_bytes(bytes(2_000_000))
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / names[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    assert [copy.path.name for copy in copies_in(tmp_path)] == names[:2]
    main(["--cache", str(tmp_path)])
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1] == "2 copies of datasets, 0.004 GB; --remove deletes them"
    assert shown[0].startswith(f"{tmp_path / names[0]}  0.002 GB  last used ")
    main(["--cache", str(tmp_path), "--remove"])
    assert [line.rpartition("  ")[2] for line in capsys.readouterr().out.splitlines()[:2]] == [
        "removed",
        "in use, kept",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])
    process.kill()
    process.communicate()
    main(["--cache", str(tmp_path), "--remove"])
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]
    capsys.readouterr()
    main(["--cache", str(tmp_path)])
    assert capsys.readouterr().out.startswith("0 copies")


def test_a_folder_that_is_not_there_is_a_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--cache {tmp_path / 'x'}: no such folder"):
        main(["--cache", str(tmp_path / "x")])
