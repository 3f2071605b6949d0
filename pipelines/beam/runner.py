"""Parse Beam's own options strictly, with a local runner that loses no data as the default, and run pipelines."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    StandardOptions,
)
from apache_beam.runners import create_runner
from apache_beam.runners.runner import PipelineResult
from google.api_core.exceptions import GoogleAPICallError

from pipelines.beam.arguments import unknown_option
from pipelines.beam.dataflow import set_dataflow_defaults
from pipelines.beam.job_server_options import runner_named, taken_by
from pipelines.beam.prism import PRISM_FIRST, PRISM_RUNNER, has_workers_here, set_prism_options, start_prism
from pipelines.beam.quick_start import collecting_less, job_options
from pipelines.beam.threads import default_threads
from pipelines.common.cli import UsageError, first_line
from pipelines.common.gcs_client import google_message, is_gs
from pipelines.common.gcs_credentials import tell_processes
from pipelines.storage.filesystem import is_local
from pipelines.storage.left_job import LeftJob

# Runs in this process. `DirectRunner` would first try Prism, a binary that has to be downloaded.
DEFAULT_RUNNER = "FnApiRunner"
_LOCAL_RUNNERS = PRISM_FIRST | {"FnApiRunner", "BundleBasedDirectRunner"}
# Threads that read images from a store: they mostly wait for it.
REMOTE_THREADS = 16
# Threads for each bundle in a worker of Flink, Spark and the like, if images lie on a filesystem. The slots of a
# machine share its workers, so it works on a bundle per slot: the second thread reads while the first decodes.
BUNDLE_THREADS = 2
# How long an engine keeps a worker between two tasks of a job. By default it ends each with its task, and starts and
# imports take the next one several seconds.
WORKER_REST_MILLIS = 30_000


class _QuietParser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(f"{message} (a Beam option)")


def _reject_unknown(arguments: Sequence[str]) -> None:
    parser = _QuietParser(add_help=False, allow_abbrev=False)
    for options_class in PipelineOptions.__subclasses__():
        # Several classes may declare the same option; only its name matters here.
        parser.conflict_handler = "resolve"
        options_class._add_argparse_args(parser)  # type: ignore[arg-type]
    for option in taken_by(runner_named(arguments)):
        # Only the server knows which of them take a value.
        parser.add_argument(option, nargs="?")
    _, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        raise unknown_option(unknown[:1])


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


def _refuse_on_spark(options: PipelineOptions) -> None:
    slots = options.view_as(FlinkRunnerOptions).parallelism
    if slots != -1:
        raise UsageError(
            f"--parallelism {slots}: Spark pays no heed to it; leave it out, and start the job server with "
            f"spark.cores.max and spark.default.parallelism of {slots}"
        )
    if options.view_as(StandardOptions).no_wait_until_finish:
        # The job would put its own output in place, while Spark may still run any step again.
        raise UsageError("--no_wait_until_finish: on Spark the command puts the output in place; leave it out")


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
    if name == "PortableRunner" and not options.view_as(PortableOptions).job_endpoint:
        raise UsageError(f"--runner {standard.runner}: needs a job server; name it by --job_endpoint HOST:PORT")
    if name == "SparkRunner":
        _refuse_on_spark(options)
    if standard.streaming:
        raise UsageError("--streaming: this is a batch job; leave it out")
    _require_runner(standard.runner)
    portable = options.view_as(PortableOptions)
    if taken_by(name) and not portable.environment_cache_millis:
        portable.environment_cache_millis = WORKER_REST_MILLIS
    # All code lives in importable modules.
    options.view_as(SetupOptions).save_main_session = False
    if is_dataflow(options):
        _require_cloud(standard.runner, options)
        set_dataflow_defaults(options, command)
    # Creating a pipeline would also do this, but inputs are examined before that.
    FileSystems.set_options(options)
    tell_processes(options.view_as(GoogleCloudOptions).no_auth)
    return options


def _runner_name(options: PipelineOptions) -> str:
    return (options.view_as(StandardOptions).runner or "").rpartition(".")[2]


def is_local_runner(options: PipelineOptions) -> bool:
    """Return whether all workers are this process and its children."""
    name = _runner_name(options)
    return name in _LOCAL_RUNNERS and (name not in PRISM_FIRST or has_workers_here(options))


def _names_dataflow(runner: str) -> bool:
    return "dataflow" in runner.lower()


def is_dataflow(options: PipelineOptions) -> bool:
    """Return whether the workers are Dataflow machines, which share nothing with this one."""
    return _names_dataflow(_runner_name(options))


def is_left_running(options: PipelineOptions) -> bool:
    """Return whether the command ends before the job does, on a remote runner.

    That is so with --no_wait_until_finish and in templates.
    """
    standard, cloud = options.view_as(StandardOptions), options.view_as(GoogleCloudOptions)
    return not is_local_runner(options) and bool(standard.no_wait_until_finish or cloud.template_location)


def may_outlast_command(options: PipelineOptions) -> bool:
    """Return whether the job may have to end without its command: it is left running, or goes on when that is ended."""
    return is_dataflow(options) or is_left_running(options)


def local_worker_processes(options: PipelineOptions) -> int:
    """Return the number of worker processes on this machine; 1 for a remote runner."""
    if not is_local_runner(options):
        return 1
    # 0: one per core.
    return options.view_as(DirectOptions).direct_num_workers or os.cpu_count() or 1


def default_worker_threads(options: PipelineOptions, paths: Iterable[str]) -> int:
    """Return the number of threads that work on images in a bundle; on this machine the processes share the cores.

    Args:
        options: Beam's options.
        paths: Where the images are.
    """
    if is_local_runner(options):
        return default_threads(local_worker_processes(options))
    return BUNDLE_THREADS if all(map(is_local, paths)) else REMOTE_THREADS


def may_share_model(options: PipelineOptions) -> bool:
    """Return whether worker processes of one machine can share a model.

    The process that has it must not end before the others. Those of our own local runner and of Dataflow serve one job,
    and end with it. Of Flink's and Spark's each belongs to a task manager or executor, which may end alone.
    """
    return local_worker_processes(options) > 1 if is_local_runner(options) else is_dataflow(options)


def _followed(pipeline: beam.Pipeline, options: PipelineOptions) -> contextlib.AbstractContextManager[None]:
    if is_local_runner(options) or is_dataflow(options):
        return contextlib.nullcontext()
    # Imported late: local runs need no job server's interface.
    from pipelines.beam.remote_job import followed

    return followed(pipeline, options)


class _Pipeline(beam.Pipeline):
    """A pipeline that says of its job, once a runner has taken it, how it is known there."""

    def __init__(self, options: PipelineOptions, taken: Callable[[LeftJob], None] | None):
        super().__init__(options=options)
        self._taken = taken if may_outlast_command(options) else None
        # Read here: Beam's portable runner takes its own name out of the options when it runs.
        self._runner_name = _runner_name(options)

    def run(self, test_runner_api: bool | str = "AUTO") -> PipelineResult:
        """Run the pipeline, as Beam does."""
        result = super().run(test_runner_api)
        if self._taken:
            self._taken(_job_of(result, self._runner_name, self._options))
        return result


def _job_of(result: PipelineResult, runner: str, options: PipelineOptions) -> LeftJob:
    if not _names_dataflow(runner):
        endpoint = options.view_as(PortableOptions).job_endpoint
        return LeftJob(
            f"the job {getattr(result, '_job_id', '')} of {runner}" + (f" at {endpoint}" if endpoint else "")
        )
    job, cloud = getattr(result, "_job", None), options.view_as(GoogleCloudOptions)
    if job is None:
        return LeftJob(f"a template of {runner}")
    place, number = f"projects/{cloud.project}/locations/{cloud.region}", job.id
    return LeftJob(
        f"the job {number} of {runner} in {cloud.project}, {cloud.region}",
        f"{cloud.dataflow_endpoint.rstrip('/')}/v1b3/{place}/jobs/{number}",
    )


@contextlib.contextmanager
def running_pipeline(
    options: PipelineOptions, taken: Callable[[LeftJob], None] | None = None
) -> Iterator[beam.Pipeline]:
    """Yield a pipeline and run it when the block ends.

    Args:
        options: Beam's options.
        taken: Told of the job once a runner has it, if the job may outlast the command.

    Raises:
        UsageError: Dataflow does not accept the job, there is no job server, or Prism cannot be started.
    """
    if _runner_name(options) == PRISM_RUNNER:
        start_prism(options)
    pipeline = _Pipeline(options, taken)
    try:
        with collecting_less(), _followed(pipeline, options), pipeline:
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
