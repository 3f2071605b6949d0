"""The prepare job: labelled images become a TFRecord dataset.

    list -> check -> deduplicate -> group -> split -> (train only) balance -> write shards -> tf.Transform -> account

The order matters: balancing takes only the train rows, so a copy can never reach another split.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.beam import table_io
from pipelines.beam.partition import partition
from pipelines.beam.progress import JobPhase, shown_progress
from pipelines.beam.publish import Publish
from pipelines.beam.quiet import quiet_beam, quiet_error
from pipelines.beam.runner import (
    default_worker_threads,
    is_left_running,
    is_local_runner,
    local_worker_processes,
    may_outlast_command,
    running_pipeline,
)
from pipelines.beam.tally import Tally
from pipelines.beam.wait_for_files import WaitForFiles
from pipelines.curation.curate import CHECK_PHASES, curate_images
from pipelines.curation.feasibility import InfeasibleError, output_unless_refused
from pipelines.curation.past_images import FindPast
from pipelines.curation.recorded_splits import by_content, past_bytes
from pipelines.dataset import description as dataset_description
from pipelines.dataset import manifest as dataset_manifest
from pipelines.dataset.file_names import MANIFEST_FILES, PAST_FILES, REJECTS_FILES
from pipelines.dataset.image_row import is_open
from pipelines.domain.dataset_json import DATASET_JSON
from pipelines.prepare import card
from pipelines.prepare.balance import BalanceTrain, write_once
from pipelines.prepare.describe import EXAMPLES_REUSED, RUN_REPORT, DescribeDataset
from pipelines.prepare.options import PrepareOptions
from pipelines.prepare.regenerate import regenerating_command
from pipelines.prepare.settings import OWN_FILES, settings_of
from pipelines.prepare.shard_writer import WriteShards
from pipelines.prepare.sharding import PlanShards
from pipelines.prepare.standardize_fn import WriteStandardizeFn
from pipelines.prepare.train_statistics import AnalyzeTrain, load_graph_modules
from pipelines.prepare.update import earlier_of
from pipelines.sources import list_images
from pipelines.storage import filesystem
from pipelines.storage.attempt import Attempt

PHASES = (
    *CHECK_PHASES,
    JobPhase("writing", "written", ("planned",), "examples"),
    JobPhase("describing"),
)


def build(
    pipeline: beam.Pipeline,
    options: PrepareOptions,
    threads: int,
    earlier: str,
    attempt: Attempt,
    unattended: bool,
) -> None:
    """Add the whole job to a pipeline.

    Args:
        pipeline: The pipeline to extend.
        options: The validated options.
        threads: Images processed at once per worker process.
        earlier: The dataset whose records an update may use again; empty for none.
        attempt: Where to write.
        unattended: See `Publish`.
    """
    folder, temporary = attempt.publish_folder, attempt.folder
    packs = filesystem.join(temporary, "packs")
    spec = options.record_spec

    curated = curate_images(pipeline, options, threads, packs, spec, earlier)
    others, train = curated.images | "Train" >> partition(lambda row: row.split == "train")
    undersampled, balanced = (
        train
        | "Balance" >> BalanceTrain(options.balance, options.target_per_class, options.seed, options.folds)
        | "Not dropped" >> partition(is_open)
    )
    planned = (balanced, others | "Once each" >> beam.Map(write_once))
    shards = (*planned, curated.problem) | "Plan" >> PlanShards(temporary, spec, options.folds, options.shard_mb)
    written = (*planned, shards) | "Write" >> WriteShards(folder, packs, spec, threads, earlier)
    transform = written.sums | "Transform" >> AnalyzeTrain(folder, spec)

    # Rows are flattened only once they are counted or packed: a runner copies all that it flattens.
    finished = {"Dropped": curated.dropped, "Undersampled": undersampled, "Made": written.rows}
    manifest = tuple(finished.values()) | "Manifest" >> table_io.WriteTable(
        filesystem.join(folder, MANIFEST_FILES),
        dataset_manifest.manifest_bytes,
        dataset_manifest.by_path,
        curated.listed | "Listed images" >> beam.Map(list_images.image_count),
    )
    rejects = (
        [rows | f"{name}, not written" >> beam.Filter(dataset_manifest.is_dropped) for name, rows in finished.items()]
        | "Not written" >> beam.Flatten()
        | "Rejects"
        >> table_io.WriteTable(
            filesystem.join(folder, REJECTS_FILES),
            dataset_manifest.rejects_bytes,
            dataset_manifest.by_path,
        )
    )
    past = {}
    if curated.recorded:
        past["past"] = (
            (curated.recorded, *finished.values())
            | "Past images" >> FindPast()
            | "Past" >> table_io.WriteTable(filesystem.join(folder, PAST_FILES), past_bytes, by_content)
        )
    standardize = shards | "Standardize" >> WriteStandardizeFn(filesystem.join(folder, "standardize_fn"), spec)
    tallies = [
        rows
        | f"{name}, count rows" >> beam.Map(dataset_description.tally_row)
        | f"{name}, sum rows" >> beam.CombineGlobally(Tally())
        for name, rows in finished.items()
    ]
    totals = tallies | "Sums" >> beam.Flatten() | "Sum rows" >> beam.CombineGlobally(Tally())
    run_report = {"threads": threads, "command": regenerating_command(options), "options": options.as_json()}
    _ = (
        {
            "shards": written.shards,
            "manifest": manifest,
            "rejects": rejects,
            "standardize_fn": standardize,
            "transform_fn": transform,
            **past,
        }
        | "All files" >> WaitForFiles()
        | "Describe"
        >> beam.ParDo(
            DescribeDataset(spec.classes, settings_of(options), folder, run_report),
            beam.pvalue.AsSingleton(curated.listed),
            beam.pvalue.AsSingleton(totals),
            beam.pvalue.AsSingleton(curated.near.counts),
            beam.pvalue.AsSingleton(curated.frequent_lesions),
        )
        | "Card" >> card.WriteCard(written.rows, totals, options, folder, threads)
        | "Publish" >> Publish(attempt, OWN_FILES, DATASET_JSON, unattended)
    )


@contextlib.contextmanager
def _loading_ahead(beam_arguments: PipelineOptions) -> Iterator[None]:
    """Load what only the last steps need while images are read, if they run in this process."""
    if not is_local_runner(beam_arguments) or local_worker_processes(beam_arguments) > 1:
        yield
        return
    with ThreadPoolExecutor(1) as thread:
        loading = thread.submit(load_graph_modules)
        yield
        loading.result()


def run(options: PrepareOptions, beam_arguments: PipelineOptions) -> tuple[dict[str, Any], int] | None:
    """Build and run the job.

    Returns:
        The content of dataset.json and the number of examples that an update took from the earlier dataset, or None if
        the job is left running.

    Raises:
        UsageError: If the images cannot be split as asked.
    """
    threads = options.threads or default_worker_threads(beam_arguments, options.paths())
    quiet_beam()
    quiet_error(InfeasibleError)
    unattended = may_outlast_command(beam_arguments)
    with output_unless_refused(options.output, DATASET_JSON, options.overwrite or options.update) as attempt:
        earlier = earlier_of(options)
        with (
            _loading_ahead(beam_arguments),
            shown_progress(is_local_runner(beam_arguments), PHASES),
            running_pipeline(beam_arguments, attempt.leave_to) as pipeline,
        ):
            build(pipeline, options, threads, earlier, attempt, unattended)
        if is_left_running(beam_arguments):
            return None
        if not unattended:
            attempt.publish_as_command(OWN_FILES)
    description, report = (
        json.loads(filesystem.read_if_exists(filesystem.join(options.output, name)) or b"")
        for name in (DATASET_JSON, RUN_REPORT)
    )
    return description, report[EXAMPLES_REUSED]
