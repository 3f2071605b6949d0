"""Engines that run, one after the other, and what their jobs are compared with: `make engines`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from deploy.engines.engine import Engine
from deploy.engines.flink import running_flink
from deploy.engines.prism import running_prism
from deploy.engines.spark import running_spark
from pipelines.demo.sample import write_sample
from tests.support.commands import Command
from tests.support.engines import BUCKET, Inputs, Places, audit, prepare, score
from tests.support.gcs import Environment, local_gcs, upload
from tests.support.gcs_tensorflow import tensorflow_gcs
from tests.support.scoring import export_untrained
from tests.support.tiny_dataset import write_dataset

# Each runs as long as a `with` block, in a new folder, and gives its workers an environment.
ENGINES: dict[str, Callable[[Path, dict[str, str]], AbstractContextManager[Engine]]] = {
    "flink": running_flink,
    "prism": running_prism,
    "spark": running_spark,
}
# What must be installed for each, and what it comes with.
PROGRAMS = {
    "flink": {"java": "Java 17", "mvn": "Maven"},
    "prism": {"go": "Go 1.26"},
    "spark": {"java": "Java 17", "mvn": "Maven"},
    "image": {"debootstrap": "debootstrap", "go": "Go 1.26"},
    "schemas": {"mvn": "Maven", "go": "Go 1.26"},
}
# Of an engine that takes long, what `make engines` runs. The rest is for `make engines-long`.
SHORT = {
    "spark": (
        "test_prepare_gives_the_same_bytes[spark]",
        "test_workers_that_share_only_a_bucket_give_the_same_scores[spark]",
        "test_what_a_job_finds_wrong_is_one_line_and_exit_code_2[spark]",
    )
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what `make engines` leaves out."""
    for item in items:
        engine = item.callspec.params.get("engine") if hasattr(item, "callspec") else None
        if engine in SHORT and item.name not in SHORT[engine]:
            item.add_marker("engines_long")


class _ByCluster(LoadScopeScheduling):
    """Gives one process all tests on Flink, which take as long as all others together, and another one the rest."""

    def _split_scope(self, nodeid: str) -> str:
        return "flink" if "test_flink" in nodeid or "[flink" in nodeid else "others"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Has tests that share a cluster run in one process."""
    return _ByCluster(config, log)


def require_programs(engine: str) -> None:
    """Skips the test if a program is missing without which the engine cannot be started; under CI it fails."""
    for program, name in PROGRAMS[engine].items():
        if not shutil.which(program):
            message = f"{program} is missing: install {name}"
            if os.environ.get("CI") == "true":
                pytest.fail(message)
            pytest.skip(message)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """A small archive with its deliberate troubles, and a model."""
    folder = tmp_path_factory.mktemp("inputs")
    write_sample(folder / "sample", seed=0, scale=0.2)
    model = export_untrained(write_dataset(tmp_path_factory.mktemp("tiny")), folder / "model", 1)
    return Inputs(str(folder / "sample"), str(model))


@pytest.fixture(scope="session")
def bucket(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """The environment of a local bucket that holds the inputs."""
    folder = tmp_path_factory.mktemp("gcs")
    with (
        local_gcs(folder, BUCKET) as environment,
        tensorflow_gcs(folder, environment["STORAGE_EMULATOR_HOST"]) as more,
    ):
        environment.update(more)
        upload(environment, BUCKET, Path(inputs.sample), "sample")
        upload(environment, BUCKET, Path(inputs.model), "model")
        yield environment


@pytest.fixture(scope="session")
def local(command: Command, inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Places:
    """What the local runner makes of the inputs."""
    folder = tmp_path_factory.mktemp("local")
    return Places(
        prepare(command, inputs, str(folder / "dataset")),
        audit(command, inputs, str(folder / "audit")),
        score(command, inputs, str(folder / "scores")),
        folder,
    )


@pytest.fixture(scope="session", params=ENGINES)
def engine(
    request: pytest.FixtureRequest, bucket: Environment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """A running engine whose workers find the bucket."""
    require_programs(request.param)
    with ENGINES[request.param](tmp_path_factory.mktemp(request.param) / "run", bucket) as running:
        yield running


@pytest.fixture(scope="session")
def prepared(
    command: Command, engine: Engine, inputs: Inputs, tmp_path_factory: pytest.TempPathFactory
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """What prepare says on four slots, and its output."""
    output = tmp_path_factory.mktemp("prepared") / "out"
    return prepare(command, inputs, str(output), *engine.options, *engine.set_slots(4)), output


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Ends with a table: what was proved on which engine, in how many seconds."""
    reports = [
        report
        for outcome in ("passed", "failed", "error", "skipped")
        for report in terminalreporter.getreports(outcome)
        if "tests/engines/" in report.nodeid and (report.when == "call" or outcome != "passed")
    ]
    if reports:
        terminalreporter.section("engines")
    for report in sorted(reports, key=lambda report: report.nodeid):
        name = report.nodeid.rpartition("::test_")[2].replace("_", " ")
        terminalreporter.write_line(f"{report.outcome:7} {report.duration:6.1f} s  {name}")
