"""Places that workers elsewhere cannot reach are refused before the job starts."""

from __future__ import annotations

import pytest

from pipelines.beam.reachability import require_reachable
from pipelines.beam.runner import beam_options
from pipelines.common.cli import UsageError
from pipelines.prepare import options as prepare_options
from pipelines.score import options as score_options
from tests.support.dataflow import DATAFLOW


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
