"""Beam options are parsed strictly and ways of running that lose records are refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    DirectOptions,
    GoogleCloudOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker.data_plane import TimeBasedBufferingClosableOutputStream

from pipelines.beam import dataflow
from pipelines.beam.reachability import require_reachable
from pipelines.beam.runner import REMOTE_THREADS, beam_options, default_worker_threads, local_worker_processes
from pipelines.common.cli import UsageError
from pipelines.prepare import options as prepare_options
from pipelines.score import options as score_options

ROOT = Path(__file__).resolve().parents[3]
DATAFLOW = ["--runner=DataflowRunner", "--region=x", "--project=myproject", "--temp_location=gs://b/t"]


def test_the_local_default_is_named():
    assert beam_options([]).view_as(StandardOptions).runner == "FnApiRunner"
    options = beam_options(["--direct_running_mode=multi_processing", "--direct_num_workers=3"])
    assert options.view_as(DirectOptions).direct_num_workers == 3
    assert local_worker_processes(options) == 3
    assert local_worker_processes(beam_options(DATAFLOW)) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--runner=DaskRunner"], "Dask"),
        (["--runner=apache_beam.runners.dask.dask_runner.DaskRunner"], "Dask"),
        (["--direct_running_mode=multi_threading"], "loses records"),
        (["--direct_num_workers=2"], "multi_processing"),
        (["--imagesize=3"], "--imagesize=3"),
        (["stray"], "stray"),
        (["--direct_num_workers=two"], "direct_num_workers"),
        (DATAFLOW[:2], "--project is missing"),
        ([*DATAFLOW[:3], "--temp_location=/tmp"], "--temp_location /tmp: DataflowRunner needs a gs:// path"),
        ([*DATAFLOW, "--staging_location=s3://x"], "--staging_location s3://x: DataflowRunner needs a gs:// path"),
        ([*DATAFLOW, "--setup_file=nowhere/setup.py"], "--setup_file nowhere/setup.py: no such file"),
    ],
)
def test_refused(arguments, says):
    with pytest.raises(UsageError, match=says) as caught:
        beam_options(arguments)
    assert "\n" not in str(caught.value)


def test_dataflow_gets_the_documented_workers():
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
    assert default_worker_threads(options) == REMOTE_THREADS


def test_what_the_user_names_comes_before_the_defaults():
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


def test_a_setup_file_may_be_named_from_its_own_folder(monkeypatch):
    monkeypatch.chdir(ROOT)
    options = beam_options([*DATAFLOW, "--setup_file=setup.py", "--sdk_container_image=x/y:1"])
    assert options.view_as(SetupOptions).setup_file == str(ROOT / "setup.py")


def test_an_installed_package_says_how_the_workers_get_it(tmp_path):
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    arguments = ["--input", "gs://b/i", "--output", "gs://b/o", *DATAFLOW]
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.prepare", *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--sdk_container_image" in done.stderr
    assert "--setup_file" in done.stderr


def reachable(parse, arguments, runner=DATAFLOW):
    options, _ = parse(arguments)
    require_reachable(beam_options(runner), options.input_places(), options.other_places())


@pytest.mark.parametrize("option", ["--metadata", "--splits_file", "--splits_from", "--output", "--input"])
def test_prepare_refuses_places_that_workers_cannot_reach(option):
    there = ["--input", "gs://b/i", "--output", "gs://b/o"]
    reachable(prepare_options.parse_options, there)
    with pytest.raises(UsageError, match=f"^{option} data/x: is on this machine; .* name a gs:// path$"):
        reachable(prepare_options.parse_options, [*there, option, "data/x"])
    # The machines of a cluster may share a filesystem.
    reachable(prepare_options.parse_options, [*there, option, "data/x"], ["--runner=PortableRunner"])


@pytest.mark.parametrize("option", ["--model", "--previous", "--output", "--input"])
def test_score_refuses_places_that_workers_cannot_reach(option):
    there = ["--input", "gs://b/i", "--model", "gs://b/m", "--output", "gs://b/o"]
    reachable(score_options.parse_options, there)
    with pytest.raises(UsageError, match=f"^{option} data/x: is on this machine; .* name a gs:// path$"):
        reachable(score_options.parse_options, [*there, option, "data/x"])


def test_a_file_of_sources_may_be_here_but_not_what_it_names(tmp_path):
    sources = tmp_path / "sources.yaml"
    sources.write_text("sources:\n- images: gs://b/i\n  metadata: gs://b/i.csv\n")
    reachable(prepare_options.parse_options, ["--input", str(sources), "--output", "gs://b/o"])
    sources.write_text("sources:\n- images: gs://b/i\n  metadata: table.csv\n")
    with pytest.raises(UsageError, match=r"sources\.yaml.*table\.csv: is on this machine"):
        reachable(prepare_options.parse_options, ["--input", str(sources), "--output", "gs://b/o"])


def test_multi_threading_still_loses_what_is_written_during_a_flush():
    """Its workers' output is flushed by a thread: what is written while that hands the buffer over is thrown away."""
    received: list[bytes] = []
    writers: list[threading.Thread] = []

    def hand_over(data: bytes) -> None:
        received.append(data)
        if not writers:
            writers.append(threading.Thread(target=stream.write, args=(b"second",)))
            writers[0].start()
            # Were writing locked out meanwhile, this would end without it.
            writers[0].join(timeout=2)

    # An hour: the test flushes, not the stream's own thread.
    stream = TimeBasedBufferingClosableOutputStream(None, hand_over, time_flush_threshold_ms=3_600_000)
    stream.write(b"first")
    stream.flush()
    writers[0].join()
    stream.flush()
    lost = b"second" not in b"".join(received)
    assert received[0] == b"first"
    assert lost, "Beam has mended the flush: let --direct_running_mode multi_threading pass in pipelines/beam/runner.py"
    assert worker_handlers.DATA_BUFFER_TIME_LIMIT_MS > 0, "Beam flushes by time no longer: multi_threading may pass"
    stream.close()
