"""What all tests share: commands as subprocesses, real data where it is, the synthetic sample."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Tests look at decoded pixels, not at start-up chatter.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).resolve().parents[1]

Command = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="session")
def command() -> Command:
    """Runs `python -m MODULE ARGUMENTS` from the project's root; gives exit code, stdout and stderr."""

    def run(module: str, *arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
        )

    return run


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and tables. Its absence fails under CI and skips elsewhere."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        message = f"real data is not at {folder}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> Path:
    """A small synthetic archive with its deliberate troubles (see pipelines.sample)."""
    from pipelines.sample import write_sample

    folder = tmp_path_factory.mktemp("archive") / "sample"
    write_sample(folder, seed=0, scale=0.4)
    return folder
