"""Plan a scoring run: resolve and check everything that can be known before any work starts."""

from __future__ import annotations

import datetime
import itertools
from typing import NamedTuple

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from pipelines.beam.runner import REMOTE_THREADS, default_worker_threads, is_local_runner, local_worker_processes
from pipelines.common.cli import UsageError
from pipelines.domain.model_info import ModelInfo
from pipelines.score.bigquery import parse_table, require_temp_location
from pipelines.score.model_handler import ModelError, load_models
from pipelines.score.models import choose_flagging, read_ensemble
from pipelines.score.options import AUTO, ScoreOptions
from pipelines.score.score_row import ScoringRun
from pipelines.score.scored_keys import require_scored_keys
from pipelines.score.submission import Challenge, challenge_for
from pipelines.sources.locations import check_locations
from pipelines.sources.record_source import RecordFormat
from pipelines.storage import filesystem, output, partitions
from pipelines.storage.partitions import MARKER


class Job(NamedTuple):
    """The plan of a scoring run, complete before the pipeline runs."""

    options: ScoreOptions
    run: ScoringRun
    partition: str  # folder that this run writes to
    earlier: tuple[str, ...]  # partitions of earlier runs
    threads: int  # reading threads in each worker process
    shared: bool  # whether the worker processes of a machine share one copy of the models
    challenge: Challenge | None  # form of the submission; None: no submission
    temp_location: str | None  # Beam's --temp_location


def require_models(run: ScoringRun) -> None:
    """Raise UsageError unless the models load and match their descriptions."""
    try:
        load_models(run.models, run.tta)
    except ModelError as error:
        raise UsageError(f"--model {error}") from error


def earlier_partitions(options: ScoreOptions, partition: str) -> tuple[str, ...]:
    """Return the partitions of earlier runs, whose files need not be scored again.

    Args:
        options: The job's options; `previous` names the outputs to search.
        partition: The partition of this run, which is left out.

    Returns:
        Partition folders without repeats, in the order of `options.previous`.

    Raises:
        UsageError: A folder of --previous cannot be read or holds no finished run.
    """
    found = (partitions.previous_partitions("--previous", folder, partition) for folder in options.previous)
    return tuple(dict.fromkeys(itertools.chain.from_iterable(found)))


def _require_format(path: str, stored: RecordFormat, models: tuple[ModelInfo, ...], tta: bool) -> None:
    """Raise UsageError unless the models accept the records of an input."""
    if tta:
        raise UsageError(f"--tta: cannot turn the records of {path}, which are as the model takes them; leave it out")
    for model in models:
        taken = (model.image_size, model.encoding)
        if taken != (stored.image_size, stored.encoding):
            raise UsageError(
                f"--input {path}: its records are {stored.encoding} of {stored.image_size} pixels, {model.path} takes "
                f"{model.encoding} of {model.image_size}; score the photographs' own files"
            )


def plan_run(options: ScoreOptions, beam_arguments: PipelineOptions, started: datetime.datetime) -> Job:
    """Check everything that can be checked before the work, and return the plan. Write nothing.

    Args:
        options: The job's options.
        beam_arguments: The options for Beam.
        started: Start of the run, with time zone; its date is the default name of the run.

    Raises:
        UsageError: An option, an input, a model or the output cannot be used.
    """
    formats = check_locations(options.locations(), beam_arguments, records=True)
    models = read_ensemble("--model", options.model)
    flagging = choose_flagging(models, options.tta, options.flag_sensitivity, options.flag_threshold)
    for path in options.input:
        if path in formats:
            _require_format(path, formats[path], models, options.tta)
        if filesystem.same_place(path, options.output):
            raise UsageError(f"--output {options.output}: is also an input; name another folder")
    partitions.require_own(options.output)
    further = bool(options.previous) and not options.overwrite
    with partitions.readable("--output", options.output):
        name = partitions.choose_name(options.output, options.run, started.date(), further)
        finished = partitions.finished_runs(options.output)
    partition = partitions.partition_folder(options.output, name)
    if not options.overwrite and name in finished:
        raise UsageError(
            f"--output {options.output}: run {name} is finished; add --previous {options.output} to score what is new, "
            "--run NAME to begin another, or --overwrite to replace it"
        )
    output.require_output(partition, MARKER, options.overwrite, [*options.input, *options.model])
    earlier = earlier_partitions(options, partition)
    require_scored_keys("--previous", earlier)
    challenge = None
    if options.submission:
        challenge = challenge_for(models[0].classes, "" if options.submission == AUTO else options.submission)
    temp_location = beam_arguments.view_as(GoogleCloudOptions).temp_location
    if options.output_table:
        parse_table(options.output_table)
        require_temp_location(temp_location)
    processes = local_worker_processes(beam_arguments)
    remote = not all(map(filesystem.is_local, options.input))
    return Job(
        options,
        ScoringRun(models, options.tta, name, started, flagging),
        partition,
        earlier,
        options.threads or (REMOTE_THREADS if remote else default_worker_threads(beam_arguments)),
        # A single process needs no model server.
        not is_local_runner(beam_arguments) or processes > 1,
        challenge,
        temp_location,
    )
