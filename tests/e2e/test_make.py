"""`make run` looks at what it is given before it installs anything."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.tiny_dataset import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What `make` reads, and data; nothing that could be installed."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "my images").mkdir()
    (tmp_path / "lesions.csv").touch()
    return tmp_path


def make(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # A make that runs these tests tells those that it starts about itself.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments], cwd=project, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("target", ["run", "experiment"])
@pytest.mark.parametrize(
    "given", [("DATA=nowhere",), ("DATA=ham10000=nowhere",), ("DATA=my images", "METADATA=nowhere.zip!/lesions.csv")]
)
def test_data_that_is_not_there_is_named_before_anything_is_installed(
    project: Path, target: str, given: tuple[str, ...]
) -> None:
    done = make(project, target, *given)
    assert done.returncode == 2
    value = given[-1].partition("=")[2]
    said, *rest = done.stderr.splitlines()
    assert said == f"{value}: no such file or folder; DATA and METADATA name what is there"
    assert len(rest) == 1
    assert done.stdout == ""
    assert not (project / ".venv").exists()


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("DATA=my images", "METADATA=lesions.csv"),
        ("DATA=ham10000=my images",),
        ("DATA=gs://archive/images",),
        ("DATA=my images/*.jpg",),
        ("DATA=lesions.csv!/images",),
    ],
)
def test_data_that_is_there_or_not_for_make_to_know_is_taken(project: Path, given: tuple[str, ...]) -> None:
    done = make(project, "data", *given)
    assert (done.returncode, done.stderr) == (0, "")
