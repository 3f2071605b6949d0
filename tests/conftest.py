"""What all tests share: commands as subprocesses, real data where it is, the synthetic sample."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Tests look at decoded pixels, not at start-up chatter.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).resolve().parents[1]

Command = Callable[..., subprocess.CompletedProcess]


# Files that take longest, longest first. `--dist loadfile` gives a file to a process as a whole: one of these that came
# last would keep one process busy while the other has nothing left to do.
LONG_FILES = (
    "e2e/test_prepare.py",
    "trainer/test_multi_worker.py",
    "e2e/test_update.py",
    "e2e/test_dataflow.py",
    "e2e/test_prepare_layouts.py",
    "trainer/test_training.py",
    "e2e/test_encodings.py",
    "trainer/test_experiment.py",
    "trainer/test_gcs_training.py",
    "e2e/test_gcs_faults.py",
    "e2e/test_gcs.py",
    "e2e/test_score_outputs.py",
    "e2e/test_score.py",
    "e2e/test_chain.py",
    "e2e/test_runners.py",
    "e2e/test_audit.py",
    "e2e/test_show.py",
    "e2e/test_verify.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the long files first; with `--no-loadscope-reorder` they also start first."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


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


@pytest.fixture
def refused_command(capfd) -> Command:
    """What `command` gives, without a process of its own, for a command that ends before any work."""

    def run(module: str, *arguments: object) -> subprocess.CompletedProcess:
        from pipelines.cli import run_command

        main = importlib.import_module(module).main
        capfd.readouterr()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with pytest.raises(SystemExit) as ended:
                run_command(module, main, [str(argument) for argument in arguments])
        finally:
            gc.unfreeze()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        said = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, ended.value.code, said.out, said.err)

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
