"""Several workers on this machine: their TF_CONFIG, their lines and their exit code. Needs no TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tiny_dataset import ROOT
from trainer.distribution.cluster import read_cluster
from trainer.distribution.local_cluster import local_configs, run_workers


def test_local_configs_are_tf_config() -> None:
    clusters = [read_cluster({"TF_CONFIG": one}) for one in local_configs([5000, 5001])]
    assert [cluster and cluster.rank for cluster in clusters] == [0, 1]
    assert clusters[0] is not None
    assert clusters[0].addresses == ("localhost:5000", "localhost:5001")


def test_the_first_failure_ends_all_and_is_the_exit_code(capfd: pytest.CaptureFixture[str]) -> None:
    forever = "import signal; print('waiting', flush=True); signal.pause()"
    fails = "import sys; print('oh', file=sys.stderr); sys.exit(7)"
    assert run_workers([[sys.executable, "-c", code] for code in (forever, fails)], [{}, {}]) == 7
    assert "[1] oh\n" in capfd.readouterr().err
    greets = "import os; print('hello', os.environ['WHO'])"
    assert run_workers([[sys.executable, "-c", greets]] * 2, [{"WHO": "a"}, {"WHO": "b"}]) == 0
    assert sorted(capfd.readouterr().out.splitlines()) == ["[0] hello a", "[1] hello b"]


def test_the_launcher_passes_on_what_the_trainer_says(tmp_path: Path) -> None:
    arguments = ["--workers", "2", "--", f"--dataset={tmp_path / 'none'}", f"--output={tmp_path / 'out'}"]
    done = subprocess.run(
        [sys.executable, "-m", "trainer.distribution.local_cluster", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 2
    assert f"trainer.task: error: --dataset {tmp_path / 'none'}: no such directory" in done.stderr
    assert {line[:4] for line in done.stderr.splitlines()} <= {"[0] ", "[1] "}
    nothing = subprocess.run(
        [sys.executable, "-m", "trainer.distribution.local_cluster"], capture_output=True, text=True, cwd=ROOT
    )
    assert nothing.returncode == 2
    assert "no arguments for trainer.task" in nothing.stderr
