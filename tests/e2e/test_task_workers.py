"""Two real worker processes: alike to the bit, like one worker, and safe against losing either."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.common.cli import EXIT_RESTART
from tests.support.commands import besides_progress
from tests.support.tiny_dataset import ROOT, command
from tests.support.workers import LIMIT_SECONDS, Ended, run_pair
from trainer.export.loaded_model import read_model_info

STEPS = "--checkpoint_steps=4"


def digests(ended: list[Ended]) -> list[str]:
    """What each worker says of its own variables at the end."""
    lines = [re.search(r"ends with weights ([0-9a-f]{64})", "\n".join(one.stdout)) for one in ended]
    assert all(lines), ended
    return [line[1] for line in lines if line]


@pytest.fixture(scope="module")
def unbroken(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Ended]]:
    """(output, what the two workers said) of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("pair")
    ended = run_pair(dataset, folder / "run", folder / "workers", STEPS)
    assert [one.code for one in ended] == [0, 0], ended
    return folder, ended


@pytest.mark.proof
def test_workers_have_the_same_weights_and_one_workers_losses(
    unbroken: tuple[Path, list[Ended]], trained: Path
) -> None:
    folder, ended = unbroken
    first, second = digests(ended)
    assert first == second
    report = json.loads((folder / "run/train.json").read_text())
    assert (report["workers"], report["replicas"]) == (2, 2)
    assert report["strategy"] == "CollectiveAllReduceStrategy"
    # `trained` is the same command in one process. Dropout's masks and all figures are those of global batches, the
    # last of which is mostly padding; so the curves differ by rounding only, which training then amplifies.
    pair, alone = (json.loads((one / "history.json").read_text()) for one in (folder / "run", trained))
    for two, one in zip(pair, alone, strict=True):
        np.testing.assert_allclose(two["loss"], one["loss"], rtol=5e-3, atol=2e-3)
        np.testing.assert_allclose(two["val_loss"], one["val_loss"], rtol=5e-2, atol=1e-2)
        assert two["learning_rate"] == one["learning_rate"]


@pytest.mark.proof
def test_only_the_chief_writes(unbroken: tuple[Path, list[Ended]], trained: Path) -> None:
    folder, _ = unbroken
    assert {path.name for path in (folder / "run").iterdir()} == {path.name for path in trained.iterdir()}
    for rank in range(2):
        assert list((folder / f"workers/tmp{rank}").iterdir()) == []


@pytest.mark.proof
def test_a_lost_worker_a_preemption_and_a_power_cut_change_nothing(
    unbroken: tuple[Path, list[Ended]], dataset: Path, tmp_path: Path
) -> None:
    def kill(*ranks: int) -> Callable[[list[subprocess.Popen]], None]:
        def kill_them(processes: list[subprocess.Popen]) -> None:
            for rank in ranks:
                processes[rank].kill()

        return kill_them

    def go(number: int, **act: Any) -> list[Ended]:
        return run_pair(dataset, tmp_path / "run", tmp_path / str(number), STEPS, **act)

    # The other ends by itself, in one line, with the code that schedulers restart on.
    chief, worker = go(1, at="saved epoch 2/6 step 4/9", act=kill(1))
    assert (chief.code, worker.code) == (EXIT_RESTART, -signal.SIGKILL)
    (last,) = besides_progress("\n".join(chief.stderr))
    assert re.fullmatch(r"trainer.task: lost worker 1 \(localhost:\d+\); start all workers again to continue", last)

    # One is told to end: both save the same step.
    both = go(2, at="epoch 3/6", act=lambda processes: processes[1].terminate())
    for one in both:
        assert one.code == EXIT_RESTART
        (last,) = besides_progress("\n".join(one.stderr))
        assert re.match(r"trainer.task: told to end \(SIGTERM\); saved after step \d of 9 in epoch 4", last)
    assert both[0].stderr[-1] == both[1].stderr[-1]

    both = go(3, at="saved epoch 5/6 step 8/9", act=kill(0, 1))
    assert [one.code for one in both] == [-signal.SIGKILL] * 2
    assert "epoch 3/" not in "".join(both[0].stdout)

    both = go(4)
    assert [one.code for one in both] == [0, 0], both
    assert "epoch 4/" not in "".join(both[0].stdout)
    _, expected = unbroken
    assert digests(both) == digests(expected)
    assert fingerprint(tmp_path / "run") == fingerprint(unbroken[0] / "run")


def fingerprint(run: Path) -> str:
    return read_model_info(run / "model").weights_fingerprint


@pytest.mark.proof
def test_a_cluster_of_one_is_one_worker(dataset: Path, trained: Path, tmp_path: Path) -> None:
    line = command(dataset, tmp_path / "run")
    launcher = [sys.executable, "-m", "trainer.distribution.local_cluster", "--workers=1", "--", *line[3:]]
    done = subprocess.run(launcher, capture_output=True, text=True, cwd=ROOT, timeout=LIMIT_SECONDS)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("[0] ") for line in done.stdout.splitlines())
    assert done.stdout.splitlines()[-1] == f"[0] model: {tmp_path / 'run' / 'model'}"
    one, other = (json.loads((run / "train.json").read_text()) for run in (tmp_path / "run", trained))
    assert (one["strategy"], other["strategy"]) == ("CollectiveAllReduceStrategy", "OneDeviceStrategy")
    assert one["validation"]["loss"] == pytest.approx(other["validation"]["loss"], rel=1e-2)
