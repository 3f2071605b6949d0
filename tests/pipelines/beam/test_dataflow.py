"""What a Dataflow job gets when nothing is said: workers, experiments, the code."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    SetupOptions,
    WorkerOptions,
)

from pipelines.beam import dataflow
from pipelines.beam.runner import REMOTE_THREADS, beam_options, default_worker_threads
from tests.support.dataflow import DATAFLOW

ROOT = Path(__file__).resolve().parents[3]


def test_dataflow_gets_the_documented_workers() -> None:
    options = beam_options(DATAFLOW, "prepare")
    workers, debug = options.view_as(WorkerOptions), options.view_as(DebugOptions)
    assert workers.machine_type == dataflow.MACHINE_TYPE
    assert workers.disk_size_gb == dataflow.DISK_SIZE_GB
    assert workers.max_num_workers == dataflow.MAX_WORKERS
    assert workers.autoscaling_algorithm == dataflow.AUTOSCALING
    assert debug.number_of_worker_harness_threads == dataflow.HARNESS_THREADS
    assert debug.experiments == list(dataflow.EXPERIMENTS)
    assert options.view_as(SetupOptions).setup_file == str(ROOT / "setup.py")
    assert options.view_as(SetupOptions).save_main_session is False
    assert options.view_as(GoogleCloudOptions).job_name.startswith("isic-prepare-")
    # The cores of this machine say nothing about theirs.
    assert default_worker_threads(options, ["gs://bucket/images"]) == REMOTE_THREADS


def test_what_the_user_names_comes_before_the_defaults() -> None:
    given = ["--machine_type=e2-highmem-8", "--disk_size_gb=200", "--num_workers=50", "--job_name=mine"]
    given += ["--number_of_worker_harness_threads=1", "--experiments=mine", "--labels=command=nightly"]
    options = beam_options([*DATAFLOW, *given, "--sdk_container_image=x/y:1"], "score")
    workers, cloud = options.view_as(WorkerOptions), options.view_as(GoogleCloudOptions)
    assert (workers.machine_type, workers.disk_size_gb) == ("e2-highmem-8", 200)
    assert workers.max_num_workers == 50
    assert options.view_as(DebugOptions).number_of_worker_harness_threads == 1
    assert options.view_as(DebugOptions).experiments == ["mine"]
    assert cloud.job_name == "mine"
    assert cloud.labels[-1] == "command=nightly"
    # The code is that of the image.
    assert options.view_as(SetupOptions).setup_file is None
    assert beam_options([*DATAFLOW, "--autoscaling_algorithm=NONE"]).view_as(WorkerOptions).max_num_workers is None


def test_a_setup_file_may_be_named_from_its_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    options = beam_options([*DATAFLOW, "--setup_file=setup.py", "--sdk_container_image=x/y:1"])
    assert options.view_as(SetupOptions).setup_file == str(ROOT / "setup.py")


def test_an_installed_package_says_how_the_workers_get_it(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    arguments = ["--input", "gs://b/i", "--output", "gs://b/o", *DATAFLOW]
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.prepare", *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--sdk_container_image" in done.stderr
    assert "--setup_file" in done.stderr
