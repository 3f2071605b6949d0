"""Run `python -m pipelines.prepare`: turn labelled images into a TFRecord dataset.

    list -> check -> deduplicate -> group -> split -> (train only) balance -> write shards -> tf.Transform -> account

The order matters: balancing takes only the train rows, so a copy can never reach another split.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.beam import table_io
from pipelines.beam.reachability import require_access, require_reachable
from pipelines.beam.runner import beam_options, default_worker_threads, is_left_running, quiet_beam, running_pipeline
from pipelines.beam.wait_for_files import WaitForFiles
from pipelines.common.cli import UsageError
from pipelines.curation import decode_cache
from pipelines.curation.curate import curate_images
from pipelines.curation.feasibility import PROBLEM_FILE, quiet_infeasible
from pipelines.curation.options import with_found_tables
from pipelines.dataset import accounting, image_row, tfds_metadata
from pipelines.dataset import description as dataset_description
from pipelines.dataset import manifest as dataset_manifest
from pipelines.dataset.record_schema import RECORD_SCHEMA, record_schema_bytes
from pipelines.dataset.record_spec import RecordSpec
from pipelines.domain.dataset_json import DATASET_JSON
from pipelines.imaging.tensorflow_runtime import start_tensorflow
from pipelines.prepare import card
from pipelines.prepare.balance import BalanceTrain, write_once
from pipelines.prepare.options import PrepareOptions, parse_options
from pipelines.prepare.regenerate import regenerating_command
from pipelines.prepare.settings import OWN_FILES, settings_of
from pipelines.prepare.shard_writer import EXAMPLES_REUSED, WriteShards
from pipelines.prepare.sharding import PlanShards
from pipelines.prepare.update import Earlier, building_on_output, earlier_of
from pipelines.storage import filesystem, output

RUN_REPORT = "prepare.json"


class _Describe(beam.DoFn):
    """DoFn that checks the totals, writes the run report, record schema and TFDS metadata, and yields dataset.json.

    dataset.json must come last: its input is what WaitForFiles gives once the other files are written.
    """

    def __init__(self, classes: Sequence[str], settings: Mapping[str, Any], folder: str, report: Mapping[str, Any]):
        self._classes = list(classes)
        self._settings = dict(settings)
        self._folder = folder
        self._report = dict(report)
        self._started = time.time()

    def process(
        self, written: Mapping[str, list], listed: Mapping, totals: Mapping, near: Mapping[str, int]
    ) -> list[bytes]:
        description = dataset_description.describe_dataset(
            listed, totals, near, written["shards"], self._classes, self._settings
        )
        seconds = time.time() - self._started
        report = {
            "seconds": round(seconds, 2),
            "images_per_second": round(description["counts"]["listed"] / seconds, 1),
            **self._report,
        }
        texts = {**tfds_metadata.metadata_files(description), RUN_REPORT: json.dumps(report, indent=2) + "\n"}
        files = {name: text.encode() for name, text in texts.items()}
        for name, content in {**files, RECORD_SCHEMA: record_schema_bytes(description)}.items():
            filesystem.write_bytes(filesystem.join(self._folder, name), content)
        return [(json.dumps(description, indent=2, ensure_ascii=False) + "\n").encode()]


class _SaveStandardizeFn(beam.DoFn):
    """DoFn that saves the graph from raw image file to record, for the exported model."""

    def __init__(self, folder: str, spec: RecordSpec):
        self._folder = folder
        self._spec = spec

    def process(self, _: None) -> list[str]:
        from pipelines.prepare.standardize_fn import write_standardize_fn

        write_standardize_fn(self._folder, self._spec)
        return ["standardize_fn"]


def build(pipeline: beam.Pipeline, options: PrepareOptions, threads: int, earlier: Earlier) -> None:
    """Add the whole job to a pipeline.

    Args:
        pipeline: The pipeline to extend.
        options: The validated options.
        threads: Images processed at once per worker process.
        earlier: What may be reused of the dataset that an update builds on.
    """
    # Imported late because it loads TensorFlow and TFT: a bad command line is refused before that.
    from pipelines.prepare.tft_analysis import AnalyzeTrain

    folder = output.publish_folder(options.output)
    temporary = output.temporary_folder(options.output)
    spec = options.record_spec

    decided = curate_images(pipeline, options, threads, earlier.known)
    others, train = decided.images | "Train" >> image_row.partition(lambda row: row.split == "train")
    undersampled, balanced = (
        train
        | "Balance" >> BalanceTrain(options.balance, options.target_per_class, options.seed, options.folds)
        | "Not dropped" >> image_row.partition(image_row.is_open)
    )
    planned = (balanced, others | "Once each" >> beam.Map(write_once)) | "Planned" >> beam.Flatten()
    shards = (planned, decided.problem) | "Plan" >> PlanShards(temporary, spec, options.folds, options.shard_mb)
    written = (planned, shards) | "Write" >> WriteShards(folder, spec, threads, earlier.records)
    transform = written.sums | "Transform" >> AnalyzeTrain(folder, filesystem.join(temporary, "tft"), spec)

    finished = (decided.dropped, undersampled, written.rows) | "All rows" >> beam.Flatten()
    manifest = finished | "Manifest" >> table_io.WriteTable(
        filesystem.join(folder, "manifest-{index:05d}-of-{count:05d}.parquet"),
        dataset_manifest.manifest_bytes,
        dataset_manifest.by_path,
    )
    rejects = (
        finished
        | "Not written" >> beam.Filter(dataset_manifest.is_dropped)
        | "Rejects"
        >> table_io.WriteTable(
            filesystem.join(folder, "rejects-{index:05d}-of-{count:05d}.jsonl"),
            dataset_manifest.rejects_bytes,
            dataset_manifest.by_path,
        )
    )
    known = (
        (decided.checked, written.rows)
        | "Remember" >> decode_cache.MakeDecodeCache()
        | "Known images"
        >> table_io.WriteTable(
            filesystem.join(folder, decode_cache.PATTERN), decode_cache.cache_bytes, decode_cache.cache_order
        )
    )
    standardize = (
        pipeline
        | "Standardize" >> beam.Create([None])
        | "Save standardize_fn" >> beam.ParDo(_SaveStandardizeFn(filesystem.join(folder, "standardize_fn"), spec))
    )
    totals = (
        finished
        | "Count rows" >> beam.Map(dataset_description.tally_row)
        | "Sum rows" >> beam.CombineGlobally(accounting.Tally())
    )
    run_report = {"threads": threads, "command": regenerating_command(options), "options": options.as_json()}
    _ = (
        {
            "shards": written.shards,
            "manifest": manifest,
            "rejects": rejects,
            "known": known,
            "standardize_fn": standardize,
            "transform_fn": transform,
        }
        | "All files" >> WaitForFiles()
        | "Describe"
        >> beam.ParDo(
            _Describe(spec.classes, settings_of(options), folder, run_report),
            beam.pvalue.AsSingleton(decided.listed),
            beam.pvalue.AsSingleton(totals),
            beam.pvalue.AsSingleton(decided.near.counts),
        )
        | "Card" >> card.WriteCard(finished, totals, options, folder, threads)
        | "Publish" >> output.Publish(options.output, OWN_FILES, DATASET_JSON)
    )


def run(options: PrepareOptions, beam_arguments: PipelineOptions) -> tuple[dict[str, Any], int] | None:
    """Build and run the job.

    Returns:
        The content of dataset.json and the number of examples that an update took from the earlier dataset, or None if
        the job is left running.

    Raises:
        UsageError: If the images cannot be split as asked.
    """
    threads = options.threads or default_worker_threads(beam_arguments)
    earlier = earlier_of(options)
    start_tensorflow()
    quiet_beam()
    quiet_infeasible()
    existing = output.begin(options.output)
    try:
        with running_pipeline(beam_arguments) as pipeline:
            build(pipeline, options, threads, earlier)
    except UsageError:
        output.abandon(options.output, existing)
        raise
    except Exception as error:
        problem = filesystem.read_if_exists(filesystem.join(output.temporary_folder(options.output), PROBLEM_FILE))
        if problem is None:
            raise
        output.abandon(options.output, existing)
        raise UsageError(problem.decode()) from error
    if is_left_running(beam_arguments):
        return None
    description = json.loads(filesystem.read_if_exists(filesystem.join(options.output, DATASET_JSON)) or b"")
    return description, _examples_reused(pipeline)


def _examples_reused(pipeline: beam.Pipeline) -> int:
    found = pipeline.result.metrics().query(MetricsFilter().with_name(EXAMPLES_REUSED))["counters"]
    # The result is None on runners that do not report counters.
    return sum(metric.result or 0 for metric in found)


def summary_lines(description: Mapping[str, Any], folder: str) -> list[str]:
    """Return the lines that the command prints when it is done."""
    counts = description["counts"]
    lines = [
        f"listed {counts['listed']} = written {counts['written']} + duplicates {counts['duplicates']}"
        f" + rejected {counts['rejected']} + undersampled {counts['undersampled']}"
    ]
    if counts["ignored"]:
        lines.append(f"  {counts['ignored']} other files lie beside them; by their names they are no images")
    for reason, count in description["dropped"].items():
        lines.append(f"  {reason}: {count}")
    near = description["near_duplicates"]
    lines.append(
        f"near-duplicates: {near['pairs']} pairs, each in one split"
        + (f"; {near['skipped']} comparisons left out" if near["skipped"] else "")
    )
    lines.append(f"lesion ids: of {counts['with_lesion_id']} of {counts['written']} images written")
    for name, split in description["splits"].items():
        folds = f" in {len(split['folds'])} folds" if split.get("folds") else ""
        shards = f"{len(split['shards'])} shards{folds}"
        lines.append(f"{name}: {split['originals']} images, {split['examples']} examples, {shards}")
    lines.append(f"fingerprint {description['fingerprint'][:16]}")
    lines.append(f"dataset {folder}, described in {card.PAGE} and {card.TEXT}")
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command: parse, validate, run, report.

    Args:
        argv: The arguments after the program name; None for those of the process.

    Raises:
        UsageError: If the options or inputs cannot be used.
        LimitExceeded: If more files are rejected than --max_reject_fraction allows.
    """
    options, rest = parse_options(argv)
    beam_arguments = beam_options(rest, "prepare")
    require_reachable(beam_arguments, options.input_places(), options.other_places())
    require_access(beam_arguments, [*options.input_places(), *options.other_places()])
    options = with_found_tables(options)
    output.require_output(options.output, DATASET_JSON, options.overwrite or options.update, options.paths())
    if options.update:
        options = building_on_output(options)
    done = run(options, beam_arguments)
    if done is None:
        print(f"left running; {filesystem.join(options.output, DATASET_JSON)} appears when it is done")
        return
    description, reused = done
    print("\n".join([*options.read_as(), *summary_lines(description, options.output)]))
    if options.update:
        examples = sum(split["examples"] for split in description["splits"].values())
        print(f"of {examples} examples {reused} were there already")
    accounting.check_reject_fraction(description["counts"], options.max_reject_fraction, options.output)
