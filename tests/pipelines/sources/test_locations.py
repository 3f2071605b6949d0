"""What a job asks about its locations before it starts, and how often."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.beam.runner import beam_options
from pipelines.common.cli import UsageError
from pipelines.prepare import options as prepare_options
from pipelines.score import options as score_options
from pipelines.sources.location import Location
from pipelines.sources.locations import Locations, check_locations
from pipelines.storage.path_lists import list_paths
from tests.support.dataflow import DATAFLOW
from tests.support.gcs import local_gcs, open_bucket

BUCKET = "clinic"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with local_gcs(tmp_path_factory.mktemp("gcs"), BUCKET) as environment, pytest.MonkeyPatch.context() as patch:
        bucket = open_bucket(environment, BUCKET)
        bucket.blob("images/ISIC_0000000.jpg").upload_from_string(b"an image")
        bucket.blob("hidden/.trash/ISIC_0000000.jpg").upload_from_string(b"an image")
        bucket.blob("list.txt").upload_from_string(f"gs://{BUCKET}/images\ngs://{BUCKET}/none.jpg\n".encode())
        for name, value in environment.items():
            patch.setenv(name, value)
        yield environment


def check(path: str, *arguments: str) -> None:
    check_locations([Location("--input", path, is_input=True)], PipelineOptions(list(arguments)))


def asked(served: Any, do: Any, *arguments: object) -> Any:
    """The requests that a function makes, without those about the bucket itself."""
    served.requests.clear()
    do(*arguments)
    return [request for request in served.requests if not re.match(rf"GET /storage/v1/b/{BUCKET}(\?|$)", request)]


@pytest.mark.parametrize("name", ["images", "images/", "images/ISIC_0000000.jpg", ""])
def test_an_input_in_a_bucket_costs_a_listing_and_a_look_at_one_object(served: Any, name: str) -> None:
    assert len(asked(served, check, f"gs://{BUCKET}/{name}")) == 2


@pytest.mark.parametrize("arguments", [[], ["--runner=DataflowRunner"]])
def test_a_list_of_paths_is_read_once_whatever_is_asked_about_it(served: Any, arguments: Any) -> None:
    path = f"gs://{BUCKET}/list.txt"

    def downloads(requests: Any) -> Any:
        return [request for request in requests if re.search(r"list\.txt.*alt=media", request)]

    once = downloads(asked(served, lambda: list(list_paths(path))))
    assert once
    assert downloads(asked(served, check, path, *arguments)) == once


def test_a_local_list_of_paths_costs_two_requests_for_each_bucket(served: Any, tmp_path: Path) -> None:
    lines = tmp_path / "list.txt"
    lines.write_text("".join(f"gs://{BUCKET}/images/ISIC_{number:07d}.jpg\n" for number in range(500)))
    assert len(asked(served, check, str(lines))) == 2


def test_a_hidden_object_is_no_image(served: Any) -> None:
    with pytest.raises(UsageError, match="holds no image"):
        check(f"gs://{BUCKET}/hidden")


def reachable(parse: Any, arguments: Any, runner: Any = DATAFLOW) -> None:
    options, _ = parse(arguments)
    Locations(options.locations()).require_reachable(beam_options(runner))


@pytest.mark.parametrize("option", ["--metadata", "--splits_file", "--splits_from", "--output", "--input"])
def test_prepare_refuses_places_that_workers_cannot_reach(option: Any) -> None:
    there = ["--input", "gs://b/i", "--output", "gs://b/o"]
    reachable(prepare_options.parse_options, there)
    with pytest.raises(UsageError, match=f"^{option} data/x: is on this machine; .* name a gs:// path$"):
        reachable(prepare_options.parse_options, [*there, option, "data/x"])
    # The machines of a cluster may share a filesystem.
    reachable(
        prepare_options.parse_options,
        [*there, option, "data/x"],
        ["--runner=PortableRunner", "--job_endpoint=localhost:8099"],
    )


@pytest.mark.parametrize("option", ["--model", "--previous", "--output", "--input"])
def test_score_refuses_places_that_workers_cannot_reach(option: Any) -> None:
    there = ["--input", "gs://b/i", "--model", "gs://b/m", "--output", "gs://b/o"]
    reachable(score_options.parse_options, there)
    with pytest.raises(UsageError, match=f"^{option} data/x: is on this machine; .* name a gs:// path$"):
        reachable(score_options.parse_options, [*there, option, "data/x"])


def test_a_file_of_sources_may_be_here_but_not_what_it_names(tmp_path: Path) -> None:
    sources = tmp_path / "sources.yaml"
    sources.write_text("sources:\n- images: gs://b/i\n  metadata: gs://b/i.csv\n")
    reachable(prepare_options.parse_options, ["--input", str(sources), "--output", "gs://b/o"])
    sources.write_text("sources:\n- images: gs://b/i\n  metadata: table.csv\n")
    with pytest.raises(UsageError, match=r"sources\.yaml.*table\.csv: is on this machine"):
        reachable(prepare_options.parse_options, ["--input", str(sources), "--output", "gs://b/o"])


@pytest.mark.parametrize(("name", "content"), [("other.csv", b"a,b\n1,2\n"), ("other.parquet", b"PAR1 and no more")])
def test_a_list_that_names_a_list_without_paths_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    path = tmp_path / "list.txt"
    path.write_text(f"{name}\n")
    with pytest.raises(UsageError, match=r"^--input .*list\.txt: cannot be listed: ") as caught:
        check_locations([Location("--input", str(path), is_input=True)], PipelineOptions([]))
    assert "\n" not in str(caught.value)
