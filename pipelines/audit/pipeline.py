"""Audit an archive of lesion images (`python -m pipelines.audit`): judge it as prepare does, but write only a report.

Stages: list -> check -> deduplicate -> group -> split -> collect -> report
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.audit import findings
from pipelines.audit.collect import collect, conflict_order, leak_order, near_order
from pipelines.audit.leakage import leak_json
from pipelines.audit.page import audit_page, pictured_paths
from pipelines.audit.report import Evidence, describe_audit
from pipelines.beam import table_io
from pipelines.beam.publish import Publish
from pipelines.beam.runner import beam_options, default_worker_threads, quiet_beam, running_pipeline
from pipelines.beam.threads import ThreadedDoFn
from pipelines.beam.wait_for_files import WaitForFiles
from pipelines.common.cli import ArgumentParser, UsageError
from pipelines.curation.curate import curate_images
from pipelines.curation.options import CurationOptions, add_curation_options, curation_values, with_found_tables
from pipelines.dataset import accounting
from pipelines.dataset import manifest as dataset_manifest
from pipelines.dataset.image_row import Place
from pipelines.imaging.images import BadImage
from pipelines.imaging.previews import preview_jpeg
from pipelines.sources.locations import check_locations
from pipelines.storage import archives, filesystem, output

MARKER = "audit.json"
PAGE = "report.html"
OWN_FILES = re.compile(
    r"(manifest|rejects|conflicts|leakage|near_duplicates)-\d{5}-of-\d{5}\.(parquet|jsonl)$|report\.html$|audit\.json$"
)
# Longer side of the pictures on the page, in pixels.
PREVIEW = 120


DESCRIPTION = """\
Look at an archive of lesion images as prepare would, and say what is wrong with it. Nothing but the report is written.

Reports images per class and source, rejected files by reason, duplicates, images whose sources disagree, lesions on
both sides of Train/Test folders (or of --splits_file), near-duplicates, image sizes and licences: a summary on the
terminal, OUTPUT/audit.json, and OUTPUT/report.html with pictures. Beside them all files in manifest-*.parquet, and
all findings in rejects-, conflicts-, leakage- and near_duplicates-*.jsonl.
"""


EPILOG = """\
example:
  python -m pipelines.audit --input data/Train --metadata HAM10000_metadata.csv --output out/audit

Any Beam option may follow. Exit codes: 0 done, 1 done but more files rejected than --max_reject_fraction,
2 wrong use, other: failed.
"""


def parse_options(argv: Sequence[str] | None) -> tuple[CurationOptions, list[str]]:
    """Parse and validate the command line.

    Args:
        argv: The arguments without the program's name; None takes those of the process.

    Returns:
        The job's options, and the remaining arguments, which are for Beam.

    Raises:
        UsageError: An option is malformed or has an impossible value.
    """
    parser = ArgumentParser("python -m pipelines.audit", description=DESCRIPTION, epilog=EPILOG)
    # Allow any number of rejects: what prepare would refuse, an audit reports.
    default = CurationOptions(sources=(), output="", max_reject_fraction=1.0)
    add_curation_options(parser, default, "folder for the report, new or empty; local or gs://")
    arguments, rest = parser.parse_known_args(argv)
    return CurationOptions(**curation_values(arguments)), rest


def _preview(place: Place) -> bytes | None:
    """Return a small picture of a file; None if the file cannot be shown."""
    try:
        return preview_jpeg(archives.read_file(place.path, place.member), PREVIEW)
    except (BadImage, OSError):
        return None


class _Report(ThreadedDoFn):
    """DoFn that writes report.html and yields the content of audit.json, once all other files are written."""

    def __init__(self, options: CurationOptions, folder: str, threads: int):
        super().__init__(threads)
        self._options = options
        self._folder = folder

    def process(self, evidence: Evidence, _: Mapping[str, list]) -> list[bytes]:
        report = describe_audit(evidence, self._options)
        places = evidence.places()
        paths = [path for path in pictured_paths(report) if path in places]
        previews = self.map_threaded(_preview, [places[path] for path in paths])
        pictures = {path: preview for path, preview in zip(paths, previews, strict=True) if preview}
        filesystem.write_bytes(filesystem.join(self._folder, PAGE), audit_page(report, pictures))
        return [(json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")]


def json_lines(elements: Iterable, as_json: Callable[[Any], dict]) -> bytes:
    """Encode elements as JSON lines.

    Args:
        elements: The elements, in order.
        as_json: Returns the JSON object of an element.
    """
    lines = (json.dumps(as_json(element), ensure_ascii=False) + "\n" for element in elements)
    return "".join(lines).encode("utf-8", "backslashreplace")


def build(pipeline: beam.Pipeline, options: CurationOptions, threads: int) -> None:
    """Add the whole job to a pipeline."""
    folder = output.publish_folder(options.output)
    curated = curate_images(pipeline, options, threads)
    found = collect(pipeline, curated, options.group_by_patient)

    def write(name: str, extension: str, encode: Callable[[Iterable], bytes], order: Callable) -> beam.PTransform:
        pattern = filesystem.join(folder, f"{name}-{{index:05d}}-of-{{count:05d}}.{extension}")
        return table_io.WriteTable(pattern, encode, order)

    def lines(name: str, as_json: Callable[[Any], dict], order: Callable) -> beam.PTransform:
        return write(name, "jsonl", functools.partial(json_lines, as_json=as_json), order)

    files = {
        "manifest": found.finished
        | "Manifest" >> write("manifest", "parquet", dataset_manifest.manifest_bytes, dataset_manifest.by_path),
        "rejects": found.finished
        | "Not usable" >> beam.Filter(dataset_manifest.is_dropped)
        | "Rejects" >> write("rejects", "jsonl", dataset_manifest.rejects_bytes, dataset_manifest.by_path),
        "conflicts": found.conflicts | "Write conflicts" >> lines("conflicts", findings.conflict_json, conflict_order),
        "leakage": found.leaks | "Write leaks" >> lines("leakage", leak_json, leak_order),
        "near_duplicates": found.pairs | "Write pairs" >> lines("near_duplicates", findings.near_json, near_order),
    }
    _ = (
        found.evidence
        | "Report"
        >> beam.ParDo(_Report(options, folder, threads), beam.pvalue.AsSingleton(files | "All files" >> WaitForFiles()))
        | "Publish" >> Publish(options.output, OWN_FILES, MARKER)
    )


def run(options: CurationOptions, beam_arguments: PipelineOptions) -> dict[str, Any]:
    """Build and run the job, and return the content of audit.json."""
    threads = options.threads or default_worker_threads(beam_arguments)
    quiet_beam()
    existing = output.begin(options.output)
    try:
        with running_pipeline(beam_arguments) as pipeline:
            build(pipeline, options, threads)
    except UsageError:
        output.abandon(options.output, existing)
        raise
    return json.loads(filesystem.read_if_exists(filesystem.join(options.output, MARKER)) or b"")


def summary_lines(report: dict[str, Any], folder: str) -> list[str]:
    """Return the lines that the command prints when it is done.

    Args:
        report: The content of audit.json.
        folder: The output folder.
    """
    counts, conflicts, leakage = report["counts"], report["conflicts"], report["leakage"]
    near, lesions = report["near_duplicates"], report["lesions"]
    lines = [
        f"listed {counts['listed']} = usable {counts['usable']} + duplicates {counts['duplicates']}"
        f" + rejected {counts['rejected']}",
        f"distinct ids: {counts['distinct_ids']}; files named like copies: {report['repeated_names']['files']}",
        f"lesion ids: {lesions['ids']}, of which {lesions['with_several_images']} have several images",
    ]
    if counts["ignored"]:
        lines.append(f"other files beside them: {counts['ignored']}; by their names they are no images")
    lines += [f"  {entry['reason']}: {entry['files']}" for entry in report["rejects"]]
    lines.append(f"label conflicts: {conflicts['images']} images in {conflicts['files']} files")
    lines += [
        f"  {' / '.join(pair['labels'])}: {pair['images']} images, {pair['files']} files" for pair in conflicts["pairs"]
    ]
    if sum(1 for files in leakage["given"].values() if files) > 1:
        files = " + ".join(f"{leakage['files'][split]} {split}" for split in leakage["files"])
        lines.append(f"leakage across the given splits: {leakage['groups']} groups, files {files}")
    lines.append(f"near-duplicates: {near['pairs']} pairs, {near['other_label']} of them under different labels")
    lines += [f"{entry['class']}: {entry['usable']} usable images" for entry in report["per_class"]]
    if report["problem"]:
        lines.append(f"prepare would refuse: {report['problem']}")
    lines.append(f"report {filesystem.join(folder, PAGE)}")
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options, run the job and print its summary.

    Raises:
        UsageError: The command line or the input is wrong.
        LimitExceeded: More of the files were rejected than --max_reject_fraction allows.
    """
    options, rest = parse_options(argv)
    beam_arguments = beam_options(rest, "audit")
    check_locations(options.locations(), beam_arguments)
    options = with_found_tables(options)
    output.require_output(options.output, MARKER, options.overwrite, options.paths())
    report = run(options, beam_arguments)
    print("\n".join([*options.read_as(), *summary_lines(report, options.output)]))
    accounting.check_reject_fraction(report["counts"], options.max_reject_fraction, options.output)
