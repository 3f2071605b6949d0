"""python -m pipelines.prepare: labelled images -> TFRecord dataset.

    list -> check -> deduplicate -> group -> split -> (train only) balance -> write shards -> tf.Transform -> account

The order is the point: balancing takes the train rows alone, so a copy can never reach another split.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import account, card, output, rows, storage, tables
from pipelines.balance import BalanceTrain, write_once
from pipelines.cli import UsageError, run_command, start_tensorflow
from pipelines.decide import decide_images
from pipelines.decision_options import with_found_tables
from pipelines.images import JPEG_QUALITY
from pipelines.parallel import default_threads
from pipelines.plan import PROBLEM_FILE, PlanShards, quiet_infeasible
from pipelines.prepare_options import PrepareOptions, command_line, parse_options
from pipelines.runner import beam_options, local_worker_processes, quiet_beam
from pipelines.versions import pixel_versions
from pipelines.write import Shard, WriteShards

MARKER = "dataset.json"
RUN_REPORT = "prepare.json"
OWN_FILES = re.compile(
    r"(train|validation|test)-\d{5}-of-\d{5}\.tfrecord$|(manifest|rejects)-\d{5}-of-\d{5}\.(parquet|jsonl)$"
    r"|(transform_fn|standardize_fn)/(saved_model\.pb|fingerprint\.pb|variables/variables\.[\w-]+|assets/class_counts)$"
    r"|transformed_metadata/(schema\.pbtxt|asset_map)$|dataset\.json$|prepare\.json$|report\.(html|md)$"
)


class _Describe(beam.DoFn):
    """Checks the sums, writes the run's report and gives the content of dataset.json, which is written last.

    Its side inputs make it wait for every file.
    """

    def __init__(self, classes: Sequence[str], settings: Mapping[str, Any], folder: str, report: Mapping[str, Any]):
        self._classes = list(classes)
        self._settings = dict(settings)
        self._report_path = storage.join(folder, RUN_REPORT)
        self._report = dict(report)
        self._started = time.time()

    def process(
        self, _: None, listed: Mapping, totals: Mapping, near: Mapping[str, int], shards: list[Shard], *written: list
    ) -> list[bytes]:
        description = account.describe_dataset(listed, totals, near, shards, self._classes, self._settings)
        seconds = time.time() - self._started
        report = {
            "seconds": round(seconds, 2),
            "images_per_second": round(description["counts"]["listed"] / seconds, 1),
            **self._report,
        }
        storage.write_bytes(self._report_path, json.dumps(report, indent=2).encode() + b"\n")
        return [(json.dumps(description, indent=2, ensure_ascii=False) + "\n").encode()]


class _SaveStandardizeFn(beam.DoFn):
    """Saves the graph from raw file to record, for the exported model."""

    def __init__(self, folder: str, size: int, aspect: str):
        self._arguments = (folder, size, aspect)

    def process(self, _: None) -> list[str]:
        from pipelines.standardize_graph import write_standardize_fn

        write_standardize_fn(*self._arguments)
        return ["standardize_fn"]


def settings_of(options: PrepareOptions) -> dict[str, Any]:
    """What decides the records besides images and classes."""
    return {
        "image_size": options.image_size,
        "aspect": options.aspect,
        "encoding": {"format": "jpeg", "quality": JPEG_QUALITY},
        "seed": options.seed,
        "options": options.record_settings(),
        "versions": pixel_versions(),
    }


def build(pipeline: beam.Pipeline, options: PrepareOptions, threads: int) -> None:
    """Add the whole job to a pipeline."""
    # TensorFlow and TFT come with it; a refused command line has been answered before.
    from pipelines.transform import AnalyzeTrain

    folder = output.publish_folder(options.output)
    temporary = output.temporary_folder(options.output)
    size, aspect, seed, classes = options.image_size, options.aspect, options.seed, options.classes

    decided = decide_images(pipeline, options, threads)
    others, train = decided.images | "Train" >> rows.partition(lambda row: row.split == "train")
    undersampled, balanced = (
        train
        | "Balance" >> BalanceTrain(options.balance, options.target_per_class, seed, options.folds)
        | "Not dropped" >> rows.partition(rows.is_open)
    )
    planned = (balanced, others | "Once each" >> beam.Map(write_once)) | "Planned" >> beam.Flatten()
    shards = (planned, decided.problem) | "Plan" >> PlanShards(options.folds, size, temporary)
    written = (planned, shards) | "Write" >> WriteShards(folder, classes, size, aspect, seed, threads)
    transform = written.sums | "Transform" >> AnalyzeTrain(folder, storage.join(temporary, "tft"), classes, size)

    finished = (decided.dropped, undersampled, written.rows) | "All rows" >> beam.Flatten()
    manifest = finished | "Manifest" >> tables.WriteTable(
        storage.join(folder, "manifest-{index:05d}-of-{count:05d}.parquet"), tables.manifest_bytes
    )
    rejects = (
        finished
        | "Not written" >> beam.Filter(tables.is_dropped)
        | "Rejects"
        >> tables.WriteTable(storage.join(folder, "rejects-{index:05d}-of-{count:05d}.jsonl"), tables.rejects_bytes)
    )
    standardize = (
        pipeline
        | "Standardize" >> beam.Create([None])
        | "Save standardize_fn" >> beam.ParDo(_SaveStandardizeFn(storage.join(folder, "standardize_fn"), size, aspect))
    )
    totals = (
        finished | "Count rows" >> beam.Map(account.tally_row) | "Sum rows" >> beam.CombineGlobally(account.Tally())
    )
    run_report = {"threads": threads, "command": command_line(options.argv), "options": options.as_json()}
    _ = (
        pipeline
        | "Account" >> beam.Create([None])
        | "Describe"
        >> beam.ParDo(
            _Describe(classes, settings_of(options), folder, run_report),
            beam.pvalue.AsSingleton(decided.listed),
            beam.pvalue.AsSingleton(totals),
            beam.pvalue.AsSingleton(decided.near.counts),
            beam.pvalue.AsList(written.shards),
            *(beam.pvalue.AsList(done) for done in (manifest, rejects, standardize, transform)),
        )
        | "Card" >> card.WriteCard(finished, totals, options, folder, threads)
        | "Publish" >> output.Publish(options.output, OWN_FILES, MARKER)
    )


def run(options: PrepareOptions, beam_arguments: PipelineOptions) -> dict[str, Any]:
    """Build and run the job; gives dataset.json. Raises UsageError when the images cannot be split as asked."""
    threads = options.threads or default_threads(local_worker_processes(beam_arguments))
    start_tensorflow()
    quiet_beam()
    quiet_infeasible()
    existing = output.begin(options.output)
    try:
        with beam.Pipeline(options=beam_arguments) as pipeline:
            build(pipeline, options, threads)
    except Exception as error:
        problem = storage.read_if_exists(storage.join(output.temporary_folder(options.output), PROBLEM_FILE))
        if problem is None:
            raise
        output.abandon(options.output, existing)
        raise UsageError(problem.decode()) from error
    return json.loads(storage.read_if_exists(storage.join(options.output, MARKER)) or b"")


def summary_lines(description: Mapping[str, Any], folder: str) -> list[str]:
    """What the command prints when it is done."""
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
    """Parse, validate, run, report. Raises UsageError or LimitExceeded."""
    options, rest = parse_options(argv)
    beam_arguments = beam_options(rest)
    options = with_found_tables(options)
    output.require_output(options.output, MARKER, options.overwrite, [*options.input, *options.metadata])
    description = run(options, beam_arguments)
    print("\n".join(summary_lines(description, options.output)))
    account.check_reject_fraction(description["counts"], options.max_reject_fraction, options.output)


if __name__ == "__main__":
    # Workers find nothing in __main__: run the importable module instead of this copy of it.
    from pipelines import prepare

    run_command("pipelines.prepare", prepare.main)
