"""Both jobs on Dataflow, without Google: submitted by its real client, and run from nothing but what was staged.

A stand-in of the jobs API takes the job, a local bucket what is staged. The staged package is installed in a clean
folder, and workers that have it, and not this checkout, run the staged pipeline. Then the job is said to be done.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.pipeline_context import PipelineContext
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.transforms.environments import ExternalEnvironment

from pipelines.beam.dataflow import DISK_SIZE_GB, HARNESS_THREADS, MACHINE_TYPE, MAX_WORKERS
from tests.support.commands import Command
from tests.support.dataflow_server import LocalDataflow, local_dataflow
from tests.support.gcs import Environment, fetch, local_gcs, open_bucket, upload
from tests.support.gcs_tensorflow import tensorflow_gcs
from tests.support.portable import job_server
from tests.support.scoring import export_untrained, only_partition, probabilities, rejects, scores, write_images
from tests.support.tiny_dataset import CLASSES, write_dataset

ROOT = Path(__file__).resolve().parents[2]
BUCKET = "lesions"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """The environment in which Beam and TensorFlow find a local bucket."""
    folder = tmp_path_factory.mktemp("cloud")
    with (
        local_gcs(folder, BUCKET) as environment,
        tensorflow_gcs(folder, environment["STORAGE_EMULATOR_HOST"]) as more,
    ):
        environment.update(more)
        yield environment


@pytest.fixture
def dataflow() -> Iterator[LocalDataflow]:
    with local_dataflow() as service:
        yield service


def make_command(target: str, arguments: list[str]) -> list[str]:
    """The command that `make TARGET` would run."""
    shown = subprocess.run(
        [
            *("make", "--no-print-directory", "-n", target),
            *("PROJECT=lesions-1", "REGION=europe-west4", f"BUCKET={BUCKET}", "STAMP="),
            *(f"ARGS={shlex.join(arguments)}", f"PY={shlex.quote(sys.executable)}"),
        ],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return shlex.split(shown.stdout.splitlines()[-1])


@contextlib.contextmanager
def submitted(
    target: str, arguments: list[str], cloud: dict[str, str], dataflow: LocalDataflow, log: Path
) -> Iterator[tuple[dict, subprocess.Popen]]:
    """Submit a job; gives it, as the service got it, and the command, which waits for it."""
    command = make_command(target, [*arguments, f"--dataflow_endpoint={dataflow.address}", "--no_auth"])
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **cloud}, stdout=file, stderr=file)
        # A command that ends without having submitted anything is not waited for.
        threading.Thread(target=lambda: dataflow.submitted.put({"exit": process.wait()}), daemon=True).start()
        try:
            job = dataflow.submitted.get()
            assert "exit" not in job, log.read_text()
            yield job, process
        finally:
            process.kill()
            process.wait()


def staged_folder(job: dict) -> str:
    """Where the job's package and pipeline lie, as a prefix in the bucket."""
    url = job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
    return url.removeprefix(f"gs://{BUCKET}/").rpartition("/")[0]


def install(package: Path, folder: Path) -> dict[str, str]:
    """Install the staged package alone; gives the environment of a process that has it and not the checkout."""
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-index", "--no-build-isolation", "--target", str(folder), str(package)),
        ],
        check=True,
        cwd=folder.parent,
    )
    environment = {"PYTHONPATH": str(folder)}
    where = [sys.executable, "-c", "import pipelines; print(pipelines.__file__)"]
    found = subprocess.run(
        where, check=True, capture_output=True, text=True, cwd=folder.parent, env={**os.environ, **environment}
    )
    assert found.stdout.strip() == str(folder / "pipelines" / "__init__.py")
    return environment


def run_staged(pipeline: Path, options: PipelineOptions) -> None:
    """Run a staged pipeline on a job server; its container's place is taken by the server's own workers."""
    proto = beam_runner_api_pb2.Pipeline.FromString(pipeline.read_bytes())
    address = options.get_all_options()["environment_config"]
    workers = ExternalEnvironment(address).to_runner_api(PipelineContext())
    for environment in proto.components.environments.values():
        assert environment.urn == common_urns.environments.DOCKER.urn
        environment.urn, environment.payload = workers.urn, workers.payload
        # Installed already.
        del environment.dependencies[:]
    assert PortableRunner().run_portable_pipeline(proto, options).wait_until_finish() == "DONE"


def run_job(job: dict, cloud: dict[str, str], folder: Path) -> Path:
    """What Dataflow would do: install what is staged, run the pipeline. Gives the folder of what was staged."""
    staged = fetch(cloud, BUCKET, staged_folder(job), folder / "staged")
    environment = install(staged / "workflow.tar.gz", folder / "package")
    empty = folder / "empty"
    empty.mkdir()
    with job_server(empty, folder, {**cloud, **environment}) as options:
        run_staged(staged / "pipeline.pb", PipelineOptions(options))
    return staged


def check_job(job: dict, command: str) -> None:
    """A job says what it is, has the documented workers, and needs nothing of this machine."""
    environment = job["environment"]
    (workers,) = environment["workerPools"]
    options = environment["sdkPipelineOptions"]["options"]
    assert (job["projectId"], job["location"]) == ("lesions-1", "europe-west4")
    assert job["name"].startswith(f"isic-{command}-")
    assert job["labels"] == {"application": "isic-lesion-pipelines", "command": command, "team": "skin"}
    assert workers["machineType"] == MACHINE_TYPE
    assert workers["diskSizeGb"] == DISK_SIZE_GB
    assert workers["numThreadsPerWorker"] == HARNESS_THREADS
    assert workers["autoscalingSettings"]["maxNumWorkers"] == MAX_WORKERS
    assert {"use_runner_v2", "use_sibling_sdk_workers"} <= set(environment["experiments"])
    assert environment["version"]["job_type"] == "FNAPI_BATCH"
    # All steps run in one image, with a process for each core. The service takes 20 MB.
    (image,) = workers["sdkHarnessContainerImages"]
    assert image["useSingleCorePerContainer"]
    assert len(json.dumps(job)) < 100_000
    assert workers["workerHarnessContainerImage"].endswith("/beam_python3.11_sdk:" + beam.__version__)
    assert options["save_main_session"] is False
    packages = {package["name"]: package["location"] for package in workers["packages"]}
    assert "pickled_main_session" not in packages
    assert packages["workflow.tar.gz"] == f"storage.googleapis.com/{BUCKET}/{staged_folder(job)}/workflow.tar.gz"
    # Of this machine's paths only the one of which the package was made; workers do not look at it.
    assert {key for key, value in options.items() if str(ROOT) in str(value)} == {"setup_file"}


def check_staged(staged: Path) -> None:
    """The package has what it needs besides code; there is nothing else but the pipeline and a note for people."""
    with tarfile.open(staged / "workflow.tar.gz") as package:
        names = {name.partition("/")[2] for name in package.getnames()}
    kinds = ("dataset/schemas/*.json", "common/templates/*.j2")
    found = [path for kind in kinds for path in (ROOT / "pipelines").glob(kind)]
    assert found
    assert {str(path.relative_to(ROOT)) for path in found} <= names
    assert {path.name for path in staged.iterdir()} == {
        *("pipeline.pb", "workflow.tar.gz", "submission_environment_dependencies.txt")
    }


def digests(dataset: Path) -> dict[str, str]:
    names = ("*.tfrecord", "known-*", "dataset.json", "schema.pbtxt")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for name in names for path in dataset.glob(name)}


@pytest.mark.proof
def test_prepare_on_dataflow_writes_the_dataset_of_the_local_run(
    command: Command, process: Command, sample: Path, cloud: Environment, dataflow: LocalDataflow, tmp_path: Path
) -> None:
    upload(cloud, BUCKET, sample / "images", "sample/images")
    open_bucket(cloud, BUCKET).blob("sample/metadata.csv").upload_from_filename(str(sample / "metadata.csv"))
    size = ["--image_size", "32"]
    place = f"gs://{BUCKET}/sample"
    there = ["--input", f"{place}/images", "--metadata", f"{place}/metadata.csv", "--output", f"gs://{BUCKET}/dataset"]
    log = tmp_path / "submission.log"
    with submitted("dataflow-prepare", [*there, *size, "--label=team=skin"], cloud, dataflow, log) as (job, submission):
        check_job(job, "prepare")
        check_staged(run_job(job, cloud, tmp_path))
        dataflow.say("JOB_STATE_DONE")
        assert submission.wait() == 0, log.read_text()
    assert f"dataset gs://{BUCKET}/dataset, described in" in log.read_text()

    here = ["--input", sample / "images", "--metadata", sample / "metadata.csv", "--output", tmp_path / "local"]
    done = command("pipelines.prepare", *here, *size)
    assert done.returncode == 0, done.stderr
    made = fetch(cloud, BUCKET, "dataset", tmp_path / "made")
    assert len(digests(made)) == 8
    assert digests(made) == digests(tmp_path / "local")
    reasons = [
        sorted((line["stage"], line["reason"]) for line in rejects(folder)) for folder in (made, tmp_path / "local")
    ]
    assert reasons[0] == reasons[1]
    names = [blob.name for blob in open_bucket(cloud, BUCKET).list_blobs(prefix="dataset/")]
    assert not [name for name in names if ".unfinished" in name]
    checked = process("pipelines.verify", f"gs://{BUCKET}/dataset", env=cloud)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.proof
def test_score_on_dataflow_writes_the_scores_of_the_local_run(
    command: Command, cloud: Environment, dataflow: LocalDataflow, tmp_path: Path
) -> None:
    model = export_untrained(write_dataset(tmp_path), tmp_path / "model", 1)
    archive = tmp_path / "archive"
    first, *_ = write_images(archive, 24)
    (archive / "broken.jpg").write_bytes(first.read_bytes()[:700])
    upload(cloud, BUCKET, model, "model")
    upload(cloud, BUCKET, archive, "archive")
    there = [
        "--input",
        f"gs://{BUCKET}/archive",
        "--model",
        f"gs://{BUCKET}/model",
        "--output",
        f"gs://{BUCKET}/scores",
    ]
    more = ["--run", "one", "--report"]
    log = tmp_path / "submission.log"
    with submitted("dataflow-score", [*there, *more, "--label=team=skin"], cloud, dataflow, log) as (job, submission):
        check_job(job, "score")
        check_staged(run_job(job, cloud, tmp_path))
        dataflow.say("JOB_STATE_DONE")
        assert submission.wait() == 0, log.read_text()

    done = command(
        "pipelines.score", "--input", archive, "--model", model, "--output", tmp_path / "local", *more, "--threads", 2
    )
    assert done.returncode == 0, done.stderr
    made, local = only_partition(fetch(cloud, BUCKET, "scores", tmp_path / "made")), only_partition(tmp_path / "local")
    by_name = {row["path"].removeprefix(f"{archive}/"): row for row in scores(local)}
    assert len(scores(made)) == len(by_name) == 24
    for row in scores(made):
        other = by_name.pop(row["path"].removeprefix(f"gs://{BUCKET}/archive/"))
        assert row["sha256"] == other["sha256"]
        np.testing.assert_allclose(probabilities(row, CLASSES), probabilities(other, CLASSES), atol=1e-6)
    assert [row["reason"] for row in rejects(made)] == [row["reason"] for row in rejects(local)]
    counts = [json.loads((partition / "_summary.json").read_text())["counts"] for partition in (made, local)]
    assert counts[0] == counts[1]
    assert (made / "_report.html").stat().st_size > 10_000


def test_a_list_of_files_on_this_machine_is_refused_before_submission(
    cloud: Environment, dataflow: LocalDataflow, tmp_path: Path
) -> None:
    open_bucket(cloud, BUCKET).blob("lists/two.txt").upload_from_string("a.jpg\n/data/b.jpg\n")
    arguments = ["--input", f"gs://{BUCKET}/lists/two.txt", "--output", f"gs://{BUCKET}/nothing"]
    command = make_command("dataflow-prepare", [*arguments, f"--dataflow_endpoint={dataflow.address}", "--no_auth"])
    done = subprocess.run(command, check=False, cwd=ROOT, env={**os.environ, **cloud}, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert f"--input gs://{BUCKET}/lists/two.txt: lists /data/b.jpg, which is on this machine" in done.stderr
    assert dataflow.submitted.empty()
    assert not list(open_bucket(cloud, BUCKET).list_blobs(prefix="nothing"))


@pytest.mark.parametrize("missing", ["PROJECT", "REGION", "BUCKET", "ARGS"])
def test_make_says_in_one_line_what_is_missing(missing: str) -> None:
    given = {"PROJECT": "p", "REGION": "r", "BUCKET": "b", "ARGS": "--input gs://b/i"}
    del given[missing]
    done = subprocess.run(
        [
            *("make", "--no-print-directory", "dataflow-prepare", "STAMP="),
            *(f"{name}={value}" for name, value in given.items()),
        ],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert f"{missing} is missing" in done.stderr
    assert done.stderr.count("\n") == 1
