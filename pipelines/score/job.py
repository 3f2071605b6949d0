"""Plan a scoring run: resolve and check everything that can be known before any work starts."""

from __future__ import annotations

import datetime
import itertools
import re
from typing import TYPE_CHECKING, NamedTuple

from pipelines.beam.arguments import BeamArguments
from pipelines.common.cli import UsageError
from pipelines.domain.model_info import ModelInfo, require_fingerprints
from pipelines.score.bigquery_table import parse_table, require_temp_location
from pipelines.score.challenge import Challenge, challenge_for
from pipelines.score.models import choose_flagging, read_ensemble
from pipelines.score.options import AUTO, ScoreOptions
from pipelines.score.score_row import ScoringRun
from pipelines.score.scored_keys import require_scored_keys
from pipelines.sources.locations import check_locations
from pipelines.sources.record_source import RecordFormat
from pipelines.storage import filesystem, output, partitions
from pipelines.storage.partitions import MARKER

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions


OWN_FILES = re.compile(
    r"(scores-\d{5}-of-\d{5}\.(parquet|csv|jsonl)"
    r"|_(rejects-\d{5}-of-\d{5}\.jsonl|(seen|failed)-\d{5}-of-\d{5}\.keys|submission\.csv|report\.html|summary\.json))$"
)


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

    @property
    def may_be_idle(self) -> bool:
        """Whether it is no mistake if there is no new image."""
        return bool(self.options.previous) or self.options.allow_empty


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


def plan_run(options: ScoreOptions, beam_arguments: BeamArguments, started: datetime.datetime) -> Job:
    """Check everything that can be checked before the work, and return the plan. Write nothing.

    Args:
        options: The job's options.
        beam_arguments: The options for Beam.
        started: Start of the run, with time zone; its date is the default name of the run.

    Raises:
        UsageError: An option, an input, a model or the output cannot be used.
    """
    locations = options.locations()
    beam_options = beam_arguments.options_for(location.path for location in locations)
    # An inbox is emptied once its images are scored.
    formats = check_locations(
        locations,
        beam_options,
        records=True,
        may_be_empty=lambda: (
            options.allow_empty or any(partitions.holds_run("--previous", folder) for folder in options.previous)
        ),
    )
    models = read_ensemble("--model", options.model)
    require_fingerprints(models, options.model_fingerprint)
    flagging = choose_flagging(models, options.tta, options.flag_sensitivity, options.flag_threshold)
    for path in options.input:
        if path in formats:
            _require_format(path, formats[path], models, options.tta)
    output.require_apart(options.output, options.input)
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
    output.require_output(partition, MARKER, options.overwrite, options.input, options.output)
    earlier = earlier_partitions(options, partition)
    require_scored_keys("--previous", earlier)
    challenge = None
    if options.submission:
        challenge = challenge_for(models[0].classes, "" if options.submission == AUTO else options.submission)
    if options.output_table:
        parse_table(options.output_table)
    run = ScoringRun(models, options.tta, name, started, flagging)
    return _with_workers(Job(options, run, partition, earlier, 0, False, challenge, None), beam_arguments.options)


def _with_workers(job: Job, beam_options: PipelineOptions) -> Job:
    """Return the plan with what Beam's options say of the workers.

    Raises:
        UsageError: BigQuery has no place for its files.
    """
    # Imported late: whatever is wrong with the rest of a command line is said without Beam.
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    from pipelines.beam.runner import REMOTE_THREADS, default_worker_threads, may_share_model

    temp_location = beam_options.view_as(GoogleCloudOptions).temp_location
    if job.options.output_table:
        require_temp_location(temp_location)
    remote = not all(map(filesystem.is_local, job.options.input))
    return job._replace(
        threads=job.options.threads
        or (REMOTE_THREADS if remote else default_worker_threads(beam_options, job.options.input)),
        shared=may_share_model(beam_options) if job.options.share_model == AUTO else job.options.share_model == "yes",
        temp_location=temp_location,
    )
