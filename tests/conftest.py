"""What all tests share: commands, real data where it is, the synthetic sample."""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

import numpy as np
import pytest
import threadpoolctl

import pipelines.beam.quick_start  # noqa: F401  spares every pipeline of a test a fifth of its time
from tests.support.commands import Command, entry_point

# Tests look at decoded pixels, not at start-up chatter.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


pytest_plugins = ["tests.support.training_fixtures", "tests.support.web_fixtures"]

ROOT = Path(__file__).resolve().parents[1]


# Files that take longest, longest first. `--dist loadfile` gives a file to a process as a whole: one of these that came
# last would keep one process busy while the other has nothing left to do.
LONG_FILES = (
    "e2e/test_prepare.py",
    "e2e/test_task_workers.py",
    "e2e/test_update.py",
    "e2e/test_dataflow.py",
    "e2e/test_prepare_layouts.py",
    "e2e/test_task.py",
    "e2e/test_encodings.py",
    "e2e/test_experiment.py",
    "e2e/test_task_gcs.py",
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
def process() -> Command:
    """Runs `python -m MODULE ARGUMENTS` from the project's root; gives exit code, stdout and stderr.

    For what a process of its own is needed for: its end, signals, workers, what it imports, the environment of native
    code.
    """

    def run(module: str, *arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
        )

    return run


# A program that ran a tf.Transform analysis segfaults at interpreter exit unless it does this; see `run_command`.
atexit.register(gc.freeze)


@contextlib.contextmanager
def _captured() -> Iterator[list[str]]:
    """What is written to stdout and stderr, by native code and logging too; the list is filled at the end."""
    sys.stdout.flush()
    sys.stderr.flush()
    said: list[str] = []
    streams, saved = (sys.stdout, sys.stderr), (os.dup(1), os.dup(2))
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+", errors="backslashreplace") as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        _hand_out_streams()
        try:
            yield said
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = streams
            _hand_out_streams()
            for number, descriptor in enumerate(saved, 1):
                os.dup2(descriptor, number)
                os.close(descriptor)
            for file in (out, err):
                file.seek(0)
                said.append(file.read())


def _hand_out_streams() -> None:
    """Gives today's stdout and stderr to what keeps those that there were when it was made or imported."""
    for reference in logging._handlerList:  # type: ignore[attr-defined]
        handler = reference()
        if not isinstance(handler, logging.StreamHandler) or isinstance(handler, logging.FileHandler):
            continue
        # pytest's own keep what they hear in memory.
        if not isinstance(handler.stream, io.StringIO):
            handler.setStream(sys.stderr)


@contextlib.contextmanager
def _own_logging() -> Iterator[None]:
    """Loggers as a new process has them: none of pytest's handlers; what is set on them ends with the block."""
    root = logging.getLogger()
    known = [one for one in logging.Logger.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    before = [(one, one.level, one.propagate, [*one.handlers], [*one.filters]) for one in (root, *known)]
    root.handlers = []
    root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for one, level, propagate, handlers, filters in before:
            one.propagate, one.handlers, one.filters = propagate, handlers, filters
            one.setLevel(level)


@contextlib.contextmanager
def _own_warnings() -> Iterator[None]:
    """Warnings are shown on stderr, and the usual ones of them, whatever pytest does with them."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        (file or sys.stderr).write(warnings.formatwarning(message, category, filename, lineno, line))

    with warnings.catch_warnings():
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
        # What is set when the module is imported, which it was.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.showwarning = show
        yield


def _forget() -> None:
    """Empty what the project's functions and libraries keep from one call to the next in a process."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("pipelines", "trainer"):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
    if "keras" in sys.modules:
        import keras

        # Layers are numbered from the start again.
        keras.utils.clear_session(free_memory=False)
    if "tensorflow" in sys.modules:
        import tensorflow as tf
        from tensorflow.python.framework import config

        config.disable_op_determinism()
        tf.random.set_seed(None)
    if "apache_beam.io.filesystems" in sys.modules:
        sys.modules["apache_beam.io.filesystems"].FileSystems.set_options(None)


@contextlib.contextmanager
def _own_state(env: dict[str, str]) -> Iterator[None]:
    """What a command may change in its process, as a new process has it, and afterwards as it was."""
    environment, folder, argv, hook = dict(os.environ), os.getcwd(), sys.argv, sys.excepthook
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    seeds = random.getstate(), np.random.get_state()
    _forget()
    os.environ.update(env)
    os.chdir(ROOT)
    try:
        # Beam's workers limit the threads of BLAS.
        with threadpoolctl.threadpool_limits(None), _own_logging(), _own_warnings():
            yield
    finally:
        gc.unfreeze()
        _forget()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        random.setstate(seeds[0])
        np.random.set_state(seeds[1])
        sys.argv, sys.excepthook = argv, hook
        os.chdir(folder)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)


@pytest.fixture(scope="session")
def command() -> Command:
    """What `process` gives, within this process, which has imported TensorFlow and Beam long since."""

    def run(module: str, *arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        from pipelines.common.cli import run_command

        # As those of a new process are: no text is the very object of a default, by which argparse tells what is given.
        given = [os.fsdecode(os.fsencode(str(argument))) for argument in arguments]
        main = entry_point(module)
        with _own_state(env or {}), _captured() as said:
            sys.argv = [module, *given]
            try:
                run_command(module, main, given)
            except SystemExit as ended:
                code = cast("int", ended.code)
        return subprocess.CompletedProcess([module, *given], code, *said)

    return run


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and tables. Its absence skips; under CI it fails, unless REAL_DATA=absent says so."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        message = f"real data is not at {folder}"
        if os.environ.get("CI") == "true" and os.environ.get("REAL_DATA") != "absent":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic archive with its deliberate troubles (see pipelines.demo.sample)."""
    from pipelines.demo.sample import write_sample

    folder = tmp_path_factory.mktemp("archive") / "sample"
    write_sample(folder, seed=0, scale=0.4)
    return folder
