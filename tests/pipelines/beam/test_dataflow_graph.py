"""The graphs that Beam's Dataflow client would submit hold what a portable runner must know, and fit the service.

The client's dry run makes them: all its checks and rewriting, without a request.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.runners.dataflow.internal.apiclient import Job

from pipelines.audit import options as audit_options
from pipelines.audit import pipeline as audit
from pipelines.beam.arguments import BeamArguments
from pipelines.beam.runner import beam_options
from pipelines.prepare import options as prepare_options
from pipelines.prepare import pipeline as prepare
from pipelines.score import options as score_options
from pipelines.score import pipeline as score
from pipelines.score.job import plan_run
from pipelines.storage.attempt import Attempt
from tests.support.documents import model_document, write_model_json
from tests.support.tiny_dataset import ROOT

IMAGE = "example.org/isic/worker:1"
DRY = (
    *("--runner=DataflowRunner", "--project=lesions-1", "--region=europe-west4", f"--sdk_container_image={IMAGE}"),
    *("--temp_location=gs://lesions/temp", "--staging_location=gs://lesions/staging", "--no_auth", "--dry_run=True"),
)
INPUT = ("--input", "gs://lesions/images", "--input", "gs://lesions/more")
OUTPUT = "gs://lesions/out"
# https://docs.cloud.google.com/dataflow/docs/request-quotas: of the graph; 20 MB of the request as JSON.
LARGEST_GRAPH = 10_000_000
# In characters of one value.
LARGEST_SHOWN = 500


def build_prepare(pipeline: beam.Pipeline, folder: Path) -> None:
    given = [*INPUT, "--output", OUTPUT, "--metadata", "gs://lesions/metadata.csv", "--folds", "5"]
    options, _ = prepare_options.parse_options(given)
    prepare.build(pipeline, options, 16, "gs://lesions/earlier", Attempt(OUTPUT, "1"), unattended=True)


def build_audit(pipeline: beam.Pipeline, folder: Path) -> None:
    options, _ = audit_options.parse_options([*INPUT, "--output", OUTPUT])
    audit.build(pipeline, options, 16, Attempt(OUTPUT, "1"), unattended=True)


def build_score(pipeline: beam.Pipeline, folder: Path) -> None:
    model = write_model_json(folder / "model", model_document(["melanoma", "nevus"], ["melanoma"], 32))
    (model / "saved_model.pb").touch()
    # A plan looks at all places.
    (folder / "images").mkdir()
    (folder / "images" / "ISIC_0000001.jpg").touch()
    given = [
        "--input",
        str(folder / "images"),
        "--output",
        str(folder / "scores"),
        "--model",
        str(model),
        "--report",
        "--threads",
        "16",
    ]
    options, rest = score_options.parse_options(given)
    job = plan_run(options, BeamArguments(rest, "score"), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    score.build(pipeline, job, Attempt(OUTPUT, "1"), unattended=True)


BUILDERS: dict[str, Callable[[beam.Pipeline, Path], None]] = {
    "prepare": build_prepare,
    "audit": build_audit,
    "score": build_score,
}


def submit(build: Callable[[beam.Pipeline, Path], object], folder: Path, command: str, *more: str) -> Job:
    pipeline = beam.Pipeline(options=beam_options([*DRY, *more], command))
    build(pipeline, folder)
    return pipeline.run().job  # type: ignore[attr-defined]  # of a dry run


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, api.Pipeline]:
    folder = tmp_path_factory.mktemp("model")
    return {command: submit(build, folder, command).proto_pipeline for command, build in BUILDERS.items()}


@pytest.fixture(params=BUILDERS)
def graph(request: pytest.FixtureRequest, graphs: dict[str, api.Pipeline]) -> api.Pipeline:
    return graphs[request.param]


def leaves(graph: api.Pipeline) -> Iterator[api.PTransform]:
    return (each for each in graph.components.transforms.values() if not each.subtransforms)


def environments(graph: api.Pipeline) -> list[api.Environment]:
    used = {each.environment_id for each in graph.components.transforms.values() if each.environment_id}
    return [graph.components.environments[name] for name in sorted(used)]


def test_every_step_is_one_that_each_portable_runner_must_know(graph: api.Pipeline) -> None:
    # Beam's model: a runner expands a composite that it does not know, down to its primitives.
    primitives, combines = common_urns.primitives, common_urns.combine_components
    of_runner = {primitives.IMPULSE.urn, primitives.GROUP_BY_KEY.urn}
    of_worker = {primitives.PAR_DO.urn, combines.COMBINE_GROUPED_VALUES.urn, primitives.FLATTEN.urn}
    assert {each.spec.urn for each in leaves(graph)} <= of_runner | of_worker
    for step in leaves(graph):
        assert bool(step.environment_id) == (step.spec.urn in of_worker), step.unique_name
    # Of what runners may lack: splittable steps, state, timers, stable input.
    assert not graph.requirements
    for step in leaves(graph):
        if step.spec.urn == primitives.PAR_DO.urn:
            work = api.ParDoPayload.FromString(step.spec.payload)
            assert not work.restriction_coder_id
            assert not work.state_specs
            assert not work.timer_family_specs
            views = {common_urns.side_inputs.ITERABLE.urn, common_urns.side_inputs.MULTIMAP.urn}
            assert {each.access_pattern.urn for each in work.side_inputs.values()} <= views


def test_data_is_bounded_in_one_window_and_in_known_coders(graph: api.Pipeline) -> None:
    bounded = {each.is_bounded for each in graph.components.pcollections.values()}
    assert bounded == {api.IsBounded.BOUNDED}
    windows = {each.window_fn.urn for each in graph.components.windowing_strategies.values()}
    assert windows == {common_urns.global_windows.urn}
    standard = {each.urn for each in common_urns.coders.__dict__.values() if hasattr(each, "urn")}
    # Opaque to the runner, which moves their bytes.
    of_python = {"beam:coder:pickled_python:v1"}
    assert {each.spec.urn for each in graph.components.coders.values()} <= standard | of_python


def test_step_names_are_unique_and_for_people(graph: api.Pipeline) -> None:
    steps = graph.components.transforms.items()
    names = [step.unique_name for key, step in steps if key not in graph.root_transform_ids]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) < 130
    # What a page shows first. Below are Beam's own steps, named by what they call.
    assert [name for name in names if not re.fullmatch(r"[A-Z][\w ,-]*", name.partition("/")[0])] == []
    assert not [name for name in names if "lambda" in name and "core.py" not in name]


def shown(graph: api.Pipeline) -> dict[tuple[str, str], str]:
    """What a page shows of the steps: {(step, what): value}."""
    found = {}
    for step in graph.components.transforms.values():
        for each in step.display_data:
            value = api.LabelledPayload.FromString(each.payload)
            found[step.unique_name, value.key] = value.string_value or str(value.int_value)
    return found


def test_what_a_page_shows_is_short_and_says_where_and_how(graphs: dict[str, api.Pipeline]) -> None:
    pages = {command: shown(graph) for command, graph in graphs.items()}
    for page in pages.values():
        assert max(map(len, page.values())) <= LARGEST_SHOWN
        assert not [value for value in page.values() if str(ROOT) in value]
        assert page["Publish/Put in place", "output"].startswith(OUTPUT)
        assert "16" in [value for (_, key), value in page.items() if key == "threads"]
    command = pages["prepare"]["Describe", "command"]
    assert command.startswith("python -m pipelines.prepare --input gs://lesions/images --input gs://lesions/more ")
    (models,) = (value for (_, key), value in pages["score"].items() if key == "models")
    assert models.endswith("/model")


def test_all_of_our_steps_run_in_the_named_image_in_several_processes(graph: api.Pipeline) -> None:
    (environment,) = environments(graph)
    assert environment.urn == common_urns.environments.DOCKER.urn
    assert api.DockerPayload.FromString(environment.payload).container_image == IMAGE
    # The code is the image's: nothing is installed when a worker starts.
    roles = {each.role_urn for each in environment.dependencies}
    assert roles <= {common_urns.artifact_roles.STAGING_TO.urn}
    assert common_urns.protocols.SIBLING_WORKERS.urn in environment.capabilities
    assert common_urns.protocols.MULTI_CORE_BUNDLE_PROCESSING.urn not in environment.capabilities
    # Hints turn on right fitting, which takes neither FlexRS nor an accelerator for all workers.
    assert not environment.resource_hints


def test_the_graph_is_a_fifth_of_what_the_service_takes(graph: api.Pipeline) -> None:
    assert len(graph.SerializeToString()) < LARGEST_GRAPH / 5


def build_little(pipeline: beam.Pipeline, folder: Path) -> None:
    _ = pipeline | beam.Create([1])


def test_resource_hints_of_the_user_reach_the_steps(tmp_path: Path) -> None:
    job = submit(build_little, tmp_path, "prepare", "--resource_hints=min_ram=32GB")
    (environment,) = environments(job.proto_pipeline)
    assert environment.resource_hints[common_urns.resource_hints.MIN_RAM_BYTES.urn] == b"32000000000"


def test_the_portable_runner_of_the_service_is_asked_for(tmp_path: Path) -> None:
    job = submit(build_little, tmp_path, "prepare")
    # https://docs.cloud.google.com/dataflow/docs/reference/rest/v1b3/projects.jobs
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?", job.proto.name)
    asked = set(job.options.get_all_options()["experiments"])
    assert {"use_runner_v2", "use_unified_worker", "use_portable_job_submission", "beam_fn_api"} <= asked
    assert "use_sibling_sdk_workers" in asked
