"""Options of Flink's and Spark's job servers pass where there is such a server, and are no others' options."""

from __future__ import annotations

import pytest

from pipelines.beam.arguments import BeamArguments
from pipelines.beam.job_server_options import runner_named
from pipelines.beam.runner import beam_options
from pipelines.common.cli import UsageError

SERVER = ("--runner", "PortableRunner", "--job_endpoint=localhost:8099")


@pytest.mark.parametrize(
    "given",
    [
        (*SERVER, "--max_bundle_size", "100", "--object_reuse", "--execution_mode_for_batch=BATCH_FORCED"),
        (*SERVER, "--storage_level=MEMORY_AND_DISK", "--parallelism", "2", "--environment_cache_millis=60000"),
        ("--runner=FlinkRunner", "--number_of_execution_retries", "3", "--faster_copy"),
        ("--runner=apache_beam.runners.portability.spark_runner.SparkRunner", "--bundle_size=1000"),
    ],
)
def test_options_of_a_job_server_are_kept_for_it(given: tuple[str, ...]) -> None:
    BeamArguments(given, "score")
    assert tuple(beam_options(given)._flags or ()) == given


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((*SERVER, "--max_bundel_size=100"), r"unknown option --max_bundel_size \(nearest --max_bundle_size\)"),
        ((*SERVER, "--job_endpiont=x", "--other"), r"options --job_endpiont \(nearest --job_endpoint\), --other; "),
        (("--runner=SparkRunner", "--max_bundle_size=1"), "--max_bundle_size: for job servers of Flink or Spark alone"),
        (("--max_bundle_size=1",), "--max_bundle_size: for job servers .*--runner PortableRunner"),
        ((*SERVER, "--wholly_unlike=1"), "unknown option --wholly_unlike; --help_all"),
    ],
)
def test_others_are_refused_with_the_nearest_name(given: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        BeamArguments(given, "score")


@pytest.mark.parametrize(
    ("given", "runner"),
    [
        ((), ""),
        (("--runner", "PortableRunner"), "PortableRunner"),
        (("--runner=a.b.FlinkRunner", "--x"), "FlinkRunner"),
        (("--runner",), ""),
    ],
)
def test_the_runner_is_read_without_beam(given: tuple[str, ...], runner: str) -> None:
    assert runner_named(given) == runner
