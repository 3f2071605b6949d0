"""Spark has a task run twice at once, or is told to cancel a job, in the middle of it: the same bytes, or no job."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.conftest import require_programs
from tests.engines.test_same_results import same_dataset
from tests.support.commands import Command
from tests.support.engine_faults import frozen, have_ended, started, wait_until
from tests.support.engines import Inputs, Places, prepare_arguments
from tests.support.lasting_job import begun, command_of
from tests.support.spark_cluster import SparkCluster, spark_cluster

pytestmark = [pytest.mark.engines, pytest.mark.engines_long]

# A task that lasts longer than this is started a second time elsewhere, however few there are of its kind.
_SPECULATION = {
    "spark.speculation": "true",
    "spark.speculation.quantile": "0.25",
    "spark.speculation.task.duration.threshold": "2s",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    require_programs("spark")
    with spark_cluster(tmp_path_factory.mktemp("faults"), {}) as running:
        yield running


@pytest.fixture(scope="module")
def speculating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    """A cluster that does not wait for slow tasks."""
    require_programs("spark")
    with spark_cluster(tmp_path_factory.mktemp("speculating"), _SPECULATION) as running:
        yield running


def test_ctrl_c_cancels_the_job(cluster: SparkCluster, process: Command, tmp_path: Path) -> None:
    folder = tmp_path / "cancelled"
    folder.mkdir()
    with started(cluster.engine, *command_of(folder)) as job:
        assert begun(folder).read_text()
        job.process.send_signal(signal.SIGINT)
        done = job.ends()
    assert done.returncode == 130
    *_, ended, last = done.stderr.splitlines()
    assert ended.endswith(": CANCELLED")
    assert last == "lasting_job: interrupted; the same command starts again"
    wait_until(lambda: not cluster.applications(), "the job has ended at Spark")


@pytest.mark.parametrize("late", ["while the job lasts", "when the output is finished"])
def test_tasks_that_spark_has_started_twice_write_the_same_bytes(
    speculating: SparkCluster, inputs: Inputs, local: Places, process: Command, tmp_path: Path, late: str
) -> None:
    output = tmp_path / "out"
    services = speculating.engine.services
    with started(speculating.engine, *prepare_arguments(inputs, str(output))) as job:
        job.writes(output, "packs/*")
        pool = job.until(speculating.busy_pool, "a task runs")
        with frozen(services, pool) as workers:
            job.until(speculating.attempts_beside_others, "tasks are started a second time")
            if late == "when the output is finished":
                done = job.ends()
                same_dataset(output, local)
        if late == "while the job lasts":
            done = job.ends()
    assert done.returncode == 0, done.stderr
    wait_until(lambda: have_ended(workers), "the late tasks have ended")
    same_dataset(output, local)
    verified = process("pipelines.verify", output)
    assert verified.returncode == 0, verified.stderr
