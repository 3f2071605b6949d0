"""Machines of a Flink cluster are lost, or come back late, in the middle of a job: the same bytes, or one line."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.engines.engine import Engine
from deploy.engines.flink import WORKERS_OF, running_flink
from tests.engines.conftest import require_programs
from tests.engines.test_same_results import same_dataset, same_scores
from tests.support.commands import Command, besides_progress
from tests.support.engine_faults import frozen, have_ended, wait_until
from tests.support.engines import Inputs, Places, prepare_arguments, score_arguments
from tests.support.flink_faults import HEARTBEATS, RESTARTS, lose_machine, mend, sent
from tests.support.lasting_job import begun, command_of, let_go
from tests.support.scoring import only_partition

pytestmark = pytest.mark.engines

_TWO_SLOTS = ("--parallelism", 2)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A cluster that starts tasks again."""
    require_programs("flink")
    with running_flink(tmp_path_factory.mktemp("faults") / "run", settings={**RESTARTS, **HEARTBEATS}) as running:
        yield running


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A cluster that does not."""
    require_programs("flink")
    with running_flink(tmp_path_factory.mktemp("strict") / "run", settings=HEARTBEATS) as running:
        yield running


def failed_in_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 3, done.stderr
    *progress, last = done.stderr.splitlines()
    assert all(": job " in line for line in besides_progress("\n".join(progress))), done.stderr
    assert all(word in last for word in words), last
    assert done.stdout == ""


def test_prepare_goes_on_when_a_machine_is_lost_in_the_middle(
    cluster: Engine, inputs: Inputs, local: Places, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with sent(cluster, *prepare_arguments(inputs, str(output)), *_TWO_SLOTS) as job:
        lost = job.reaches("Check images")
        job.writes(output, "packs/*")
        lose_machine(cluster, lost)
        done = job.ends()
    mend(cluster, f"workers-{lost[-1]}", lost)
    assert done.returncode == 0, done.stderr
    same_dataset(output, local)
    assert not (output / ".unfinished").exists()
    assert f"RUNNING, {cluster.page}/#/job/running/{job.id}/overview" in done.stderr


@pytest.mark.engines_long
def test_a_job_server_that_is_killed_is_one_line_that_says_where_to_look(
    cluster: Engine, inputs: Inputs, local: Places, command: Command, tmp_path: Path
) -> None:
    output = tmp_path / "scores"
    with sent(cluster, *score_arguments(inputs, str(output)), *_TWO_SLOTS) as job:
        job.reaches("Read and check")
        cluster.services.stop("job-server", signal.SIGKILL)
        done = job.ends()
    failed_in_one_line(done, "is gone", "may go on", f"cancel it at {cluster.page}/#/job/running/{job.id}")
    # It does go on, and puts nothing in place.
    wait_until(lambda: job.state() == "FINISHED", "the job ends")
    assert {path.name for path in output.glob("run=night/*")} <= {".unfinished"}
    mend(cluster, "job-server")
    again = command(*score_arguments(inputs, str(output)), *_TWO_SLOTS, *cluster.options)
    assert again.returncode == 0, again.stderr
    same_scores(only_partition(output), only_partition(local.folder / "scores"), inputs.sample, inputs.sample)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_cancels_the_job_and_a_second_leaves_it(cluster: Engine, tmp_path: Path, times: int) -> None:
    with sent(cluster, *command_of(tmp_path)) as job:
        assert begun(tmp_path).read_text()
        job.process.send_signal(signal.SIGINT)
        assert job.process.stderr
        line = next(line for line in job.process.stderr if "is being cancelled" in line)
        assert line.endswith("; a second interruption leaves it to itself\n")
        if times == 2:
            job.process.send_signal(signal.SIGINT)
        done = job.ends()
    assert done.returncode == 130
    *_, ended, last = done.stderr.splitlines()
    assert last == "lasting_job: interrupted; the same command starts again"
    if times == 1:
        assert ended.endswith(": CANCELLED")
        assert job.state() == "CANCELED"
    else:
        assert ended.endswith(f" may still run; cancel it at {cluster.page}/#/job/running/{job.id}/overview")
        assert job.state() == "RUNNING"
        let_go(tmp_path).touch()
        wait_until(lambda: job.state() == "FINISHED", "the job ends")


@pytest.mark.parametrize("engine", ["flink"], indirect=True)
def test_a_job_that_flink_gives_up_is_one_line(engine: Engine, tmp_path: Path) -> None:
    with sent(engine, *command_of(tmp_path)) as job:
        assert begun(tmp_path).read_text()
        for name in WORKERS_OF.values():
            engine.services.stop(name, signal.SIGKILL)
        done = job.ends()
    mend(engine, *WORKERS_OF.values())
    failed_in_one_line(done, ": FAILED, ", f"more at {engine.page}/#/job/running/{job.id}/overview; the same command")


@pytest.mark.engines_long
# Rows of all images are there; shards are being written.
@pytest.mark.parametrize("written", ["packs/*", "publish/known-*"])
def test_prepare_goes_on_when_a_task_manager_is_killed(
    cluster: Engine, inputs: Inputs, local: Places, tmp_path: Path, written: str
) -> None:
    output = tmp_path / "out"
    with sent(cluster, *prepare_arguments(inputs, str(output)), *_TWO_SLOTS) as job:
        job.writes(output, written)
        cluster.services.stop("taskmanager-1", signal.SIGKILL)
        done = job.ends()
    mend(cluster, "taskmanager-1")
    assert done.returncode == 0, done.stderr
    assert job.restarts()
    same_dataset(output, local)
    assert not (output / ".unfinished").exists()


@pytest.mark.engines_long
@pytest.mark.parametrize("late", ["while the job lasts", "when the output is finished"])
def test_tasks_that_come_back_when_others_have_taken_their_place_do_no_harm(
    cluster: Engine, inputs: Inputs, local: Places, process: Command, tmp_path: Path, late: str
) -> None:
    output = tmp_path / "out"
    with sent(cluster, *prepare_arguments(inputs, str(output)), *_TWO_SLOTS) as job:
        lost = job.reaches("Check images")
        job.writes(output, "packs/*")
        with frozen(cluster.services, WORKERS_OF[lost], lost) as workers:
            wait_until(job.restarts, "tasks are started again")
            if late == "when the output is finished":
                done = job.ends()
                same_dataset(output, local)
        if late == "while the job lasts":
            done = job.ends()
    assert done.returncode == 0, done.stderr
    wait_until(lambda: have_ended(workers), "the late tasks have ended")
    mend(cluster)
    same_dataset(output, local)
    verified = process("pipelines.verify", output)
    assert verified.returncode == 0, verified.stderr


@pytest.mark.engines_long
@pytest.mark.parametrize("part", ["taskmanager", "workers"])
def test_score_goes_on_when_a_task_manager_or_its_workers_are_killed(
    cluster: Engine, inputs: Inputs, local: Places, tmp_path: Path, part: str
) -> None:
    output = tmp_path / "scores"
    with sent(cluster, *score_arguments(inputs, str(output)), *_TWO_SLOTS) as job:
        lost = f"{part}-{job.reaches('Read and check')[-1]}"
        cluster.services.stop(lost, signal.SIGKILL)
        wait_until(job.restarts, "tasks are started again")
        mend(cluster, lost)
        done = job.ends()
    assert done.returncode == 0, done.stderr
    same_scores(only_partition(output), only_partition(local.folder / "scores"), inputs.sample, inputs.sample)


@pytest.mark.engines_long
@pytest.mark.parametrize("part", ["taskmanager", "workers"])
def test_without_restarts_a_lost_part_is_one_line_and_the_same_command_repeats_the_job(
    strict: Engine, inputs: Inputs, local: Places, process: Command, tmp_path: Path, part: str
) -> None:
    output = tmp_path / "out"
    arguments = (*prepare_arguments(inputs, str(output)), *_TWO_SLOTS)
    with sent(strict, *arguments) as job:
        lost = f"{part}-{job.reaches('Check images')[-1]}"
        job.writes(output, "packs/*")
        strict.services.stop(lost, signal.SIGKILL)
        done = job.ends()
    mend(strict, lost)
    failed_in_one_line(done, ": FAILED, ", f"more at {strict.page}/#/job/running/{job.id}/overview; the same command")
    assert {path.name for path in output.iterdir()} == {".unfinished"}
    again = process(*arguments, *strict.options)
    assert again.returncode == 0, again.stderr
    same_dataset(output, local)
    assert not (output / ".unfinished").exists()


@pytest.mark.engines_long
def test_a_job_manager_that_is_killed_is_one_line_and_the_same_command_repeats_the_job(
    strict: Engine, inputs: Inputs, local: Places, process: Command, tmp_path: Path
) -> None:
    output = tmp_path / "scores"
    arguments = (*score_arguments(inputs, str(output)), *_TWO_SLOTS)
    with sent(strict, *arguments) as job:
        job.reaches("Read and check")
        strict.services.stop("jobmanager", signal.SIGKILL)
        done = job.ends()
    mend(strict, "jobmanager")
    failed_in_one_line(done, ": FAILED, ", "the same command starts again")
    assert {path.name for path in output.glob("run=night/*")} <= {".unfinished"}
    again = process(*arguments, *strict.options)
    assert again.returncode == 0, again.stderr
    same_scores(only_partition(output), only_partition(local.folder / "scores"), inputs.sample, inputs.sample)
