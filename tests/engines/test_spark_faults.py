"""An executor of Spark is killed, which has others make again what it kept: the same bytes and scores."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.engines.engine import Engine
from deploy.engines.spark import running_spark
from tests.engines.conftest import require_programs
from tests.engines.test_same_results import ALL, same_scores
from tests.support.commands import Command
from tests.support.engines import Inputs, Places, digests, prepare, score
from tests.support.scoring import only_partition

pytestmark = [pytest.mark.engines, pytest.mark.engines_long]


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs, and the folder of its jobs' events."""

    engine: Engine
    events: Path

    def stages_done(self) -> int:
        """Of the job that runs."""
        return sum(log.read_text().count('"SparkListenerStageCompleted"') for log in self.events.glob("*.inprogress"))

    def kill_executor(self) -> None:
        command = ("pgrep", "-P", str(self.engine.services.pid("worker-1")), "-f", "CoarseGrainedExecutorBackend")
        (executor,) = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        os.kill(int(executor), signal.SIGKILL)

    def run(
        self, job: Callable[..., subprocess.CompletedProcess[str]], *arguments: object, stages: int
    ) -> subprocess.CompletedProcess[str]:
        """Run a job; kill an executor once it has done a number of stages."""
        known = set(self.events.iterdir())
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(job, *arguments, *self.engine.options)
            while self.stages_done() < stages:
                assert not running.done(), running.result().stderr
                time.sleep(0.1)
            self.kill_executor()
            done = running.result()
        (log,) = set(self.events.iterdir()) - known
        assert '"Removed Reason":"Command exited with code 137"' in log.read_text()
        return done


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    require_programs("spark")
    folder = tmp_path_factory.mktemp("faults")
    events = folder / "events"
    events.mkdir()
    properties = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": str(events)}
    with running_spark(folder / "run", properties=properties) as running:
        yield Cluster(running, events)


# Images have been read by the fourth stage; later ones take rows that executors keep.
@pytest.mark.parametrize("stages", [4, 25])
def test_prepare_gives_the_same_bytes_when_an_executor_is_killed(
    process: Command, cluster: Cluster, inputs: Inputs, local: Places, tmp_path: Path, stages: int
) -> None:
    output = tmp_path / "out"
    done = cluster.run(prepare, process, inputs, str(output), stages=stages)
    assert done.returncode == 0, done.stderr
    expected = digests(local.folder / "dataset", *ALL)
    assert len(expected) > 8
    assert digests(output, *ALL) == expected
    assert not (output / ".unfinished").exists()


def test_score_gives_the_same_scores_when_an_executor_is_killed(
    process: Command, cluster: Cluster, inputs: Inputs, local: Places, tmp_path: Path
) -> None:
    done = cluster.run(score, process, inputs, str(tmp_path / "scores"), stages=3)
    assert done.returncode == 0, done.stderr
    places = only_partition(tmp_path / "scores"), only_partition(local.folder / "scores")
    same_scores(*places, inputs.sample, inputs.sample)
