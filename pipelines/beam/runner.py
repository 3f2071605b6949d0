"""Parse Beam's own options strictly, with a local runner that loses no data as the default, and run pipelines."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
)
from apache_beam.runners import create_runner
from google.api_core.exceptions import GoogleAPICallError

from pipelines.beam.arguments import unknown_option
from pipelines.beam.dataflow import set_dataflow_defaults
from pipelines.beam.prism import PRISM_FIRST, PRISM_RUNNER, has_workers_here, set_prism_options, start_prism
from pipelines.beam.quick_start import collecting_less, job_options
from pipelines.beam.threads import default_threads
from pipelines.common.cli import UsageError, first_line
from pipelines.common.gcs_client import google_message, is_gs

# Runs in this process. `DirectRunner` would first try Prism, a binary that has to be downloaded.
DEFAULT_RUNNER = "FnApiRunner"
_LOCAL_RUNNERS = PRISM_FIRST | {"FnApiRunner", "BundleBasedDirectRunner"}
# Threads of each worker process on other machines. Their number of cores is not known here, but threads mostly wait for
# files.
REMOTE_THREADS = 16


class _QuietParser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(f"{message} (a Beam option)")


def _reject_unknown(arguments: Sequence[str]) -> None:
    parser = _QuietParser(add_help=False, allow_abbrev=False)
    for options_class in PipelineOptions.__subclasses__():
        # Several classes may declare the same option; only its name matters here.
        parser.conflict_handler = "resolve"
        options_class._add_argparse_args(parser)  # type: ignore[arg-type]
    _, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        raise unknown_option(unknown[0])


def _require_runner(name: str) -> None:
    try:
        create_runner(name)
    except (ValueError, ImportError, AttributeError) as error:
        raise UsageError(f"--runner {name}: {first_line(error)}") from error


def _require_cloud(name: str, options: PipelineOptions) -> None:
    cloud = options.view_as(GoogleCloudOptions)
    for option in ("project", "region", "temp_location"):
        if not getattr(cloud, option):
            raise UsageError(f"--runner {name}: needs --project, --region and --temp_location; --{option} is missing")
    for option in ("temp_location", "staging_location"):
        path = getattr(cloud, option)
        if path and not is_gs(path):
            raise UsageError(f"--{option} {path}: {name} needs a gs:// path")


def beam_options(arguments: Sequence[str], command: str = "job") -> PipelineOptions:
    """Parse Beam's options from the arguments that the job's own parser left over.

    Filesystems (S3) use these options from here on. For Dataflow, the defaults of `dataflow_defaults` are applied.

    Args:
        arguments: Command-line arguments.
        command: Name of the job, shown by the runner.

    Raises:
        UsageError: An option is unknown or unsuitable. This includes the two local ways of running that lose records:
            the Dask runner drops outputs, and `multi_threading` loses elements in a race while reporting success.
    """
    _reject_unknown(arguments)
    options = job_options(list(arguments))
    standard = options.view_as(StandardOptions)
    if not standard.runner:
        standard.runner = DEFAULT_RUNNER
    name = standard.runner.rpartition(".")[2]
    if name.lower().startswith("dask"):
        raise UsageError(f"--runner {standard.runner}: Beam's Dask runner drops records; use {DEFAULT_RUNNER}")
    direct = options.view_as(DirectOptions)
    if direct.direct_running_mode == "multi_threading":
        raise UsageError(
            "--direct_running_mode multi_threading: loses records without a word; "
            "use in_memory (images are processed in threads all the same) or multi_processing"
        )
    if name in PRISM_FIRST:
        set_prism_options(name, options, arguments)
    if name in _LOCAL_RUNNERS and direct.direct_num_workers != 1 and direct.direct_running_mode == "in_memory":
        raise UsageError(
            f"--direct_num_workers {direct.direct_num_workers}: needs --direct_running_mode multi_processing"
        )
    if direct.direct_num_workers < 0:
        raise UsageError(f"--direct_num_workers {direct.direct_num_workers}: 0 (one per core) or more is needed")
    _require_runner(standard.runner)
    # All code lives in importable modules.
    options.view_as(SetupOptions).save_main_session = False
    if is_dataflow(options):
        _require_cloud(standard.runner, options)
        set_dataflow_defaults(options, command)
    # Creating a pipeline would also do this, but inputs are examined before that.
    FileSystems.set_options(options)
    return options


def _runner_name(options: PipelineOptions) -> str:
    return (options.view_as(StandardOptions).runner or "").rpartition(".")[2]


def is_local_runner(options: PipelineOptions) -> bool:
    """Return whether all workers are this process and its children."""
    name = _runner_name(options)
    return name in _LOCAL_RUNNERS and (name not in PRISM_FIRST or has_workers_here(options))


def is_dataflow(options: PipelineOptions) -> bool:
    """Return whether the workers are Dataflow machines, which share nothing with this one."""
    return "dataflow" in _runner_name(options).lower()


def is_left_running(options: PipelineOptions) -> bool:
    """Return whether the command ends before the job does, on a remote runner.

    That is so with --no_wait_until_finish and in templates.
    """
    standard, cloud = options.view_as(StandardOptions), options.view_as(GoogleCloudOptions)
    return not is_local_runner(options) and bool(standard.no_wait_until_finish or cloud.template_location)


def local_worker_processes(options: PipelineOptions) -> int:
    """Return the number of worker processes on this machine; 1 for a remote runner."""
    if not is_local_runner(options):
        return 1
    # 0: one per core.
    return options.view_as(DirectOptions).direct_num_workers or os.cpu_count() or 1


def default_worker_threads(options: PipelineOptions) -> int:
    """Return the number of threads per worker process; on this machine the processes share the cores."""
    return default_threads(local_worker_processes(options)) if is_local_runner(options) else REMOTE_THREADS


@contextlib.contextmanager
def running_pipeline(options: PipelineOptions) -> Iterator[beam.Pipeline]:
    """Yield a pipeline and run it when the block ends.

    Raises:
        UsageError: Dataflow does not accept the job, or Prism cannot be started.
    """
    if _runner_name(options) == PRISM_RUNNER:
        start_prism(options)
    pipeline = beam.Pipeline(options=options)
    try:
        with collecting_less(), pipeline:
            yield pipeline
    except GoogleAPICallError as error:
        is_taken = getattr(pipeline, "result", None) is not None
        if is_taken or not is_dataflow(options) or not 400 <= (error.code or 0) < 500:
            raise
        cloud = options.view_as(GoogleCloudOptions)
        raise UsageError(
            f"--project {cloud.project}: Dataflow in {cloud.region} does not take the job ({google_message(error)}); "
            "see that the project exists and has the Dataflow API, and ask for roles/dataflow.developer there"
        ) from error
