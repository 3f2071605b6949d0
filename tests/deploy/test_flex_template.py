"""Templates of Dataflow: what they declare is what the commands take, and a launched command leaves its job running."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners.portability.local_job_service import LocalJobServicer
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from google.cloud.dataflow_v1beta3.types import LaunchFlexTemplateRequest, TemplateMetadata

from deploy.dataflow.flex_template import command_arguments, metadata
from pipelines.beam.runner import beam_options, is_left_running
from pipelines.common.cli import UsageError
from pipelines.prepare import options as prepare_options
from pipelines.score import options as score_options
from tests.support.commands import Command
from tests.support.scoring import export_untrained, scores, write_images
from tests.support.tiny_dataset import ROOT, write_dataset

JOBS = ("prepare", "score")
COMMANDS = {"prepare": prepare_options, "score": score_options}


def options_in_help(job: str) -> set[str]:
    parser = COMMANDS[job].build_parser()
    parser.show_all()
    return set(re.findall(r"^  (?:-h, )?--(\w+)", parser.format_help(), re.MULTILINE)) - {
        "help",
        "help_all",
        "config",
        "log_format",
    }


@pytest.fixture(params=JOBS)
def job(request: pytest.FixtureRequest) -> str:
    return request.param


def parameters(job: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in metadata(job)["parameters"]}


def matches(job: str, name: str, value: str) -> bool:
    """As the service judges a value."""
    return all(re.search(regex, value) for regex in parameters(job)[name].get("regexes", []))


def launch(job: str, *parameters: str) -> subprocess.CompletedProcess[str]:
    """Start a job's file as the launcher does: by its path, with the package installed elsewhere."""
    path = ROOT / "deploy" / "dataflow" / f"{job}.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, path, *parameters], capture_output=True, text=True, env=environment)


def test_the_kept_file_is_up_to_date(command: Command, job: str) -> None:
    printed = command("deploy.dataflow.flex_template", job)
    assert printed.returncode == 0, printed.stderr
    assert (ROOT / "deploy" / "dataflow" / f"{job}_template.json").read_text() == printed.stdout


def test_the_service_knows_every_field(job: str) -> None:
    # Fails for a field, a kind or a type of value that Google's own description of the API does not have.
    understood = TemplateMetadata.from_json(json.dumps(metadata(job)), ignore_unknown_fields=False)
    assert [each.name for each in understood.parameters] == list(parameters(job))
    assert not understood.streaming
    assert all(each.label and each.help_text and each.param_type for each in understood.parameters)
    assert all(each.enum_options for each in understood.parameters if each.param_type.name == "ENUM")


def test_every_parameter_is_an_option_and_every_option_a_parameter(job: str) -> None:
    assert parameters(job).keys() - {"sdk_container_image"} == options_in_help(job)
    required = {name for name, each in parameters(job).items() if not each["isOptional"]}
    assert required == {"input", "output", "sdk_container_image"} | ({"model"} if job == "score" else set())


def test_defaults_pass_their_own_patterns(job: str) -> None:
    given = {name: each["defaultValue"] for name, each in parameters(job).items() if "defaultValue" in each}
    assert given["max_reject_fraction"] == "0.25"
    assert all(matches(job, name, value) for name, value in given.items())


@pytest.mark.parametrize(
    ("job", "name", "good", "bad"),
    [
        ("score", "input", "gs://a/b;s3://c/*.jpg", "gs://a/b;images"),
        ("score", "output", "gs://a/b", "/data/out"),
        ("score", "batch_size", "64", "many"),
        ("score", "report", "true", "yes"),
        ("score", "format", "csv", "xlsx"),
        ("score", "drift_threshold", ".25", "0.2.5"),
        ("prepare", "input", "ham10000=gs://a/b", "ham10000=b"),
        ("prepare", "seed", "-3", "3a"),
        ("prepare", "sdk_container_image", "europe-docker.pkg.dev/p/r/worker@sha256:0a", "worker"),
    ],
)
def test_the_service_takes_a_good_value_and_refuses_a_bad_one(job: str, name: str, good: str, bad: str) -> None:
    assert matches(job, name, good)
    assert not matches(job, name, bad)


def test_the_nightly_request_is_one_that_the_template_takes() -> None:
    text = (ROOT / "deploy" / "dataflow" / "nightly_request.json").read_text()
    text = text.replace("REGION", "europe-west4").replace("PROJECT", "clinic").replace("TAG", "1")
    launched = LaunchFlexTemplateRequest.from_json(text, ignore_unknown_fields=False).launch_parameter
    assert all(matches("score", name, value) for name, value in launched.parameters.items())
    required = {name for name, each in parameters("score").items() if not each["isOptional"]}
    assert required <= launched.parameters.keys()
    given = [f"--{name}={value}" for name, value in launched.parameters.items()]
    options, beam = score_options.parse_options(command_arguments("score", given))
    assert options.previous == (options.output,)
    assert [each.partition("=")[0] for each in beam] == ["--sdk_container_image"]


def test_parameters_become_a_command_line() -> None:
    launched = [
        *("--input=gs://a/1;gs://a/2", "--model=gs://m/7", "--output=gs://s", "--previous=gs://s", "--report=true"),
        *("--tta=false", "--run=", "--batch_size=8", "--submission=auto", "--runner=DataflowRunner", "--project=p"),
    ]
    options, beam = score_options.parse_options(command_arguments("score", launched))
    assert options.input == ("gs://a/1", "gs://a/2")
    assert (options.report, options.tta, options.run, options.batch_size) == (True, False, "", 8)
    assert options.submission == "auto"
    assert beam == ["--runner=DataflowRunner", "--project=p"]
    with pytest.raises(UsageError, match="--tta maybe: true or false is needed"):
        command_arguments("score", ["--tta=maybe"])


def test_a_parameter_of_prepare_keeps_its_commas() -> None:
    launched = ["--input=gs://a", "--output=gs://b", "--split_fractions=0.7,0.2,0.1", "--classes=a,b"]
    given = command_arguments("prepare", launched)
    assert prepare_options.build_parser().parse_known_args(given)[0].split_fractions == "0.7,0.2,0.1"


@pytest.mark.parametrize("name", JOBS)
def test_wrong_use_of_a_launched_job_is_one_line(name: str) -> None:
    started = launch(name, "--overwrite=true")
    assert started.returncode == 2
    assert re.fullmatch(rf"pipelines\.{name}: error: the following arguments are required: .*\n", started.stderr)


@contextlib.contextmanager
def job_service(folder: Path) -> Iterator[tuple[tuple[str, ...], Callable[[], str]]]:
    """Beam's job server and its workers, in this process; gives the options that name them and a call that waits."""
    pool_address, pool = BeamFnExternalWorkerPoolServicer.start()
    service = LocalJobServicer(str(folder))
    port = service.start_grpc_server()
    try:
        with grpc.insecure_channel(f"localhost:{port}") as channel:
            stub = beam_job_api_pb2_grpc.JobServiceStub(channel)

            def wait() -> str:
                (job,) = stub.GetJobs(beam_job_api_pb2.GetJobsRequest()).job_info
                request = beam_job_api_pb2.GetJobStateRequest(job_id=job.job_id)
                return beam_job_api_pb2.JobState.Enum.Name([each.state for each in stub.GetStateStream(request)][-1])

            yield (
                (
                    *("--runner=PortableRunner", f"--job_endpoint=localhost:{port}"),
                    *("--environment_type=EXTERNAL", f"--environment_config={pool_address}"),
                ),
                wait,
            )
    finally:
        service.stop()
        pool.stop(0)


SERVER = ("--runner=PortableRunner", "--job_endpoint=localhost:8099")


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ((), False),
        (("--no_wait_until_finish",), False),  # this process does the work
        ((*SERVER,), False),
        ((*SERVER, "--no_wait_until_finish"), True),
        ((*SERVER, "--template_location=gs://a/b"), True),
    ],
)
def test_only_a_job_elsewhere_is_left_running(given: tuple[str, ...], left: bool) -> None:
    assert is_left_running(beam_options(given)) is left


def test_a_launched_job_is_left_running_and_finishes(tmp_path: Path) -> None:
    model = export_untrained(write_dataset(tmp_path), tmp_path / "model", 1)
    write_images(tmp_path / "images", 12)
    with job_service(tmp_path / "staging") as (runner, wait):
        launched = launch(
            *("score", f"--input={tmp_path / 'images'}"),
            *(f"--model={model}", f"--output={tmp_path / 'scores'}", "--run=night", "--report=true", *runner),
        )
        assert launched.returncode == 0, launched.stderr
        marker = tmp_path / "scores" / "run=night" / "_summary.json"
        assert launched.stdout.splitlines()[-1] == f"left running; {marker} appears when it is done"
        assert wait() == "DONE"
    assert json.loads(marker.read_text())["counts"]["scored"] == 12
    assert len(scores(marker.parent)) == 12
    assert (marker.parent / "_report.html").exists()
