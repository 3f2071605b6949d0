"""The score job: one or more exported models score an archive of lesion images.

Stages: list -> skip known files -> read and check -> RunInference -> write scores, rejects and keys -> account ->
publish
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.beam import table_io
from pipelines.beam.progress import JobPhase, shown_progress
from pipelines.beam.publish import Publish
from pipelines.beam.quiet import quiet_beam, quiet_error
from pipelines.beam.runner import is_left_running, is_local_runner, may_outlast_command, running_pipeline
from pipelines.beam.table_io import Written
from pipelines.beam.tally import Tally
from pipelines.beam.wait_for_files import WaitForFiles
from pipelines.common.cli import UsageError
from pipelines.dataset import accounting
from pipelines.dataset import manifest as dataset_manifest
from pipelines.imaging.tensorflow_runtime import start_tensorflow
from pipelines.score.batches import ReadBatches
from pipelines.score.bigquery import WriteScoresToBigQuery
from pipelines.score.bigquery_table import load_folder
from pipelines.score.blocks import PackRows, ReportListed, keys_of, of_outcome, pack, unpack, with_result
from pipelines.score.columns import encode
from pipelines.score.job import OWN_FILES, Job
from pipelines.score.model_handler import LesionModelHandler, ModelError, load_models
from pipelines.score.score_row import ScoringRun
from pipelines.score.scored_keys import (
    FAILED_FILES,
    SCORED_FILES,
    by_key,
    pack_keys,
    unpack_keys,
)
from pipelines.score.skip_scored import SkipScored
from pipelines.score.submission import submission_bytes
from pipelines.score.summary import describe_run, describe_submission, tally_rows
from pipelines.score.triage import ReportParts, by_path
from pipelines.score.triage_page import triage_page
from pipelines.sources import list_images
from pipelines.storage import filesystem, output
from pipelines.storage.attempt import Attempt
from pipelines.storage.filesystem import join
from pipelines.storage.partitions import MARKER

REJECTS, SUBMISSION, REPORT = "_rejects-*.jsonl", "_submission.csv", "_report.html"
# Holds the summary of a run that found nothing new. It stays in the temporary folder and is not published.
NOTHING_NEW = "nothing_new.json"
PHASES = (
    JobPhase("listing", "listed", unit="files"),
    JobPhase("scoring", "done", ("listed",), "files"),
    JobPhase("writing"),
)


class _Describe(beam.DoFn):
    """DoFn that checks the totals, writes the report and yields the content of _summary.json.

    It runs after everything else is written. If no file was new, it writes the summary to the temporary folder and
    yields nothing, so nothing is published.
    """

    def __init__(self, job: Job, attempt: Attempt):
        self._job = job
        self._attempt = attempt

    def process(
        self, written: Mapping[str, list], listed: Mapping, totals: Mapping, parts: Mapping[str, Any]
    ) -> Iterator[bytes]:
        job, options = self._job, self._job.options
        folder = self._attempt.publish_folder
        seconds = {
            "write": sum(file.seconds for files in written.values() for file in files if isinstance(file, Written))
        }
        summary = describe_run(job.run, listed, totals, seconds, options.drift_threshold)
        if job.challenge:
            summary["submission"] = describe_submission(job.challenge, join(folder, SUBMISSION))
        content = (json.dumps(summary, indent=2, ensure_ascii=False) + "\n").encode()
        if job.may_be_idle and summary["counts"]["unchanged"] == accounting.images_listed(listed):
            filesystem.write_bytes(join(self._attempt.folder, NOTHING_NEW), content)
            return
        if parts:
            page = triage_page(job.run, summary, parts["triage"], by_path(parts["pictures"]))
            filesystem.write_bytes(join(folder, REPORT), page)
        yield content


def build(pipeline: beam.Pipeline, job: Job, attempt: Attempt, unattended: bool) -> None:
    """Add the whole job to a pipeline.

    Args:
        pipeline: The pipeline to extend.
        job: The plan.
        attempt: Where to write.
        unattended: See `Publish`.
    """
    options, run = job.options, job.run
    folder = attempt.publish_folder
    chunks = pipeline | "List images" >> list_images.ListImages(options.input, records=True)
    listed = chunks | "Listed" >> list_images.CountListed()
    found = chunks | "Count" >> beam.ParDo(ReportListed())
    unchanged = []
    if job.earlier:
        skipped = found | "Skip known" >> beam.ParDo(SkipScored(job.earlier, run.fingerprint)).with_outputs(
            "unchanged", main="new"
        )
        found, unchanged = skipped.new, [skipped.unchanged]
    read = found | "Read and check" >> beam.ParDo(
        ReadBatches(run, job.threads, options.batch_size, options.memory_budget)
    ).with_outputs("rejects", main="batches")
    handler: KeyedModelHandler = KeyedModelHandler(LesionModelHandler(run.models, run.tta, job.shared))
    scored = (
        read.batches
        | "Score" >> RunInference(handler.with_no_batching())
        | "Rows" >> beam.MapTuple(with_result)
        | "Pack" >> beam.ParDo(PackRows())
    )
    unread = read.rejects | "Pack unread" >> beam.ParDo(PackRows())
    # Blocks are packed because a runner materializes what it flattens. They are unpacked once for all consumers.
    blocks = (scored, unread) | "All rows" >> beam.Flatten() | "Unpack" >> beam.Map(unpack)
    # Fixes the number of output files before the first row exists.
    most = found | "Chunk sizes" >> beam.Map(len) | "New files" >> beam.CombineGlobally(sum)

    def path(name: str) -> str:
        return join(folder, name.replace("*", "{index:05d}-of-{count:05d}"))

    scores = blocks | "Scored" >> beam.Map(of_outcome, True)
    rejects = blocks | "Rejected" >> beam.Map(of_outcome, False)
    scores_bytes = functools.partial(
        encode, run=run, table_format=options.format, escape_formulas=options.escape_formulas
    )
    order = dataset_manifest.by_path
    rejects_bytes = dataset_manifest.rejects_bytes
    written = {
        "scores": scores
        | "Scores" >> table_io.WriteBlocks(path(f"scores-*.{options.format}"), scores_bytes, order, pack, unpack, most),
        "rejects": rejects | "Rejects" >> table_io.WriteBlocks(path(REJECTS), rejects_bytes, order, pack, unpack, most),
    }
    for label, files, failed in (("Seen", SCORED_FILES, False), ("Failed", FAILED_FILES, True)):
        keys = blocks | f"{label} keys" >> beam.Map(keys_of, failed)
        written[label.lower()] = keys | label >> table_io.WriteBlocks(
            path(files), pack_keys, by_key, pack_keys, unpack_keys, most
        )
    if job.challenge:
        submission = functools.partial(submission_bytes, run=run, challenge=job.challenge)
        one = pipeline | "One file" >> beam.Create([1])
        written["submission"] = scores | "Submission" >> table_io.WriteBlocks(
            join(folder, SUBMISSION), submission, order, pack, unpack, one
        )
    if options.output_table:
        written["load_jobs"] = (
            scores
            | "Single rows" >> beam.FlatMap(list)
            | "BigQuery" >> WriteScoresToBigQuery(run, options.output_table, _load_folder(job))
        )
    parts = beam.pvalue.AsSingleton(pipeline | "No report" >> beam.Create([{}]))
    if options.report:
        made = blocks | "Report" >> ReportParts(run, options.report_top)
        parts = beam.pvalue.AsSingleton(
            made["triage"]
            | "Report parts"
            >> beam.Map(
                lambda triage, pictures: {"triage": triage, "pictures": pictures},
                beam.pvalue.AsDict(made["pictures"]),
            )
        )
    tallies = blocks | "Count rows" >> beam.Map(tally_rows, run)
    totals = (tallies, *unchanged) | "All counts" >> beam.Flatten() | "Sum counts" >> beam.CombineGlobally(Tally())
    _ = (
        written
        # Without scored rows there is nothing to load.
        | "All written" >> WaitForFiles(may_be_empty=["load_jobs"])
        | "Describe"
        >> beam.ParDo(
            _Describe(job, attempt),
            beam.pvalue.AsSingleton(listed),
            beam.pvalue.AsSingleton(totals),
            parts,
        )
        | "Publish" >> Publish(attempt, OWN_FILES, MARKER, unattended)
    )


def require_models(run: ScoringRun) -> None:
    """Raise UsageError unless the models load and match their descriptions."""
    try:
        load_models(run.models, run.tta)
    except ModelError as error:
        raise UsageError(f"--model {error}") from error


def _load_folder(job: Job) -> str | None:
    """Return the folder for BigQuery's load files; None without a table."""
    if not job.options.output_table or not job.temp_location:
        return None
    return load_folder(job.temp_location, job.options.output)


def run(job: Job, attempt: Attempt, beam_arguments: PipelineOptions) -> dict[str, Any] | None:
    """Build and run the job, and return its summary.

    Args:
        job: The plan.
        attempt: Where to write.
        beam_arguments: Beam's options.

    Returns:
        The content of _summary.json; None if the pipeline was left running. A run that found nothing new returns its
        summary too, but publishes nothing.

    Raises:
        UsageError: A model cannot be loaded, or the pipeline refused the input.
    """
    start_tensorflow()
    quiet_beam()
    quiet_error()
    require_models(job.run)
    if job.shared:
        load_models.cache_clear()  # worker processes load their own; this one no longer needs them
    unattended = may_outlast_command(beam_arguments)
    loads = _load_folder(job)
    if loads:
        filesystem.clear_folder(loads, "")
    with (
        shown_progress(is_local_runner(beam_arguments), PHASES),
        running_pipeline(beam_arguments, attempt.leave_to) as pipeline,
    ):
        build(pipeline, job, attempt, unattended)
    if is_left_running(beam_arguments):
        return None
    if loads:
        filesystem.clear_folder(loads, "")
    nothing_new = filesystem.read_if_exists(join(attempt.folder, NOTHING_NEW))
    if nothing_new is not None:
        output.abandon(attempt)
        return json.loads(nothing_new)
    if not unattended:
        attempt.publish_as_command(OWN_FILES)
    return json.loads(filesystem.read_if_exists(join(job.partition, MARKER)) or b"")
