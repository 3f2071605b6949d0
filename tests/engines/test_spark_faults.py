"""Parts of a Spark cluster are lost, or work twice, in the middle of a job: the same bytes and scores."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.conftest import require_programs
from tests.engines.test_same_results import same_dataset, same_scores
from tests.support.commands import Command
from tests.support.engine_faults import Running, frozen, have_ended, started, wait_until
from tests.support.engines import Inputs, Places, prepare_arguments, score_arguments
from tests.support.lasting_job import begun, command_of
from tests.support.scoring import only_partition
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


def kill_executor(cluster: SparkCluster, job: Running, stages: int) -> None:
    """Kill an executor once a job has done a number of stages."""
    job.until(lambda: len(cluster.of_kind("StageCompleted")) >= stages, f"{stages} stages are done")
    cluster.kill_executor()


# Images have been read by the fourth stage; later ones take rows that executors keep.
@pytest.mark.parametrize("stages", [4, 25])
def test_prepare_gives_the_same_bytes_when_an_executor_is_killed(
    cluster: SparkCluster, inputs: Inputs, local: Places, tmp_path: Path, stages: int
) -> None:
    output = tmp_path / "out"
    with started(cluster.engine, *prepare_arguments(inputs, str(output))) as job:
        kill_executor(cluster, job, stages)
        done = job.ends()
    assert done.returncode == 0, done.stderr
    assert [event["Removed Reason"] for event in cluster.of_kind("ExecutorRemoved")][:1] == [
        "Command exited with code 137"
    ]
    same_dataset(output, local)
    assert not (output / ".unfinished").exists()


def test_score_gives_the_same_scores_when_an_executor_is_killed(
    cluster: SparkCluster, inputs: Inputs, local: Places, tmp_path: Path
) -> None:
    output = tmp_path / "scores"
    with started(cluster.engine, *score_arguments(inputs, str(output))) as job:
        kill_executor(cluster, job, 3)
        done = job.ends()
    assert done.returncode == 0, done.stderr
    assert [event["Removed Reason"] for event in cluster.of_kind("ExecutorRemoved")][:1] == [
        "Command exited with code 137"
    ]
    same_scores(only_partition(output), only_partition(local.folder / "scores"), inputs.sample, inputs.sample)


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
