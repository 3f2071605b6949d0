"""The audit job: an archive of lesion images is judged as prepare does, but only a report is written.

Stages: list -> check -> deduplicate -> group -> split -> collect -> report
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.audit import findings
from pipelines.audit.collect import collect, conflict_order, leak_order, near_order
from pipelines.audit.label_errors import error_json, error_order
from pipelines.audit.leakage import leak_json
from pipelines.audit.options import MARKER, PAGE, AuditOptions
from pipelines.audit.page import audit_page, pictured_paths
from pipelines.audit.report import Evidence, describe_audit
from pipelines.beam import table_io
from pipelines.beam.progress import shown_progress
from pipelines.beam.publish import Publish
from pipelines.beam.quiet import quiet_beam, quiet_error
from pipelines.beam.runner import (
    default_worker_threads,
    is_left_running,
    is_local_runner,
    may_outlast_command,
    running_pipeline,
)
from pipelines.beam.threads import ThreadedDoFn
from pipelines.beam.wait_for_files import WaitForFiles
from pipelines.curation.curate import CHECK_PHASES, curate_images
from pipelines.curation.feasibility import InfeasibleError, RefuseCorrections, output_unless_refused
from pipelines.dataset import manifest as dataset_manifest
from pipelines.dataset.image_row import Place
from pipelines.imaging.images import BadImage
from pipelines.imaging.previews import preview_jpeg
from pipelines.storage import archives, filesystem
from pipelines.storage.attempt import Attempt

OWN_FILES = re.compile(
    r"(manifest|rejects|conflicts|leakage|near_duplicates|label_errors)-\d{5}-of-\d{5}\.(parquet|jsonl)$|report\.html$|audit\.json$"
)
# Longer side of the pictures on the page, in pixels.
PREVIEW = 120


def _preview(place: Place) -> bytes | None:
    """Return a small picture of a file; None if the file cannot be shown."""
    try:
        return preview_jpeg(archives.read_file(place.path, place.member), PREVIEW)
    except (BadImage, OSError):
        return None


class _Report(ThreadedDoFn):
    """DoFn that writes report.html and yields the content of audit.json, once all other files are written."""

    def __init__(self, options: AuditOptions, folder: str, threads: int):
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


def build(pipeline: beam.Pipeline, options: AuditOptions, threads: int, attempt: Attempt, unattended: bool) -> None:
    """Add the whole job to a pipeline.

    Args:
        pipeline: The pipeline to extend.
        options: The validated options.
        threads: Images processed at once per bundle.
        attempt: Where to write.
        unattended: See `Publish`.
    """
    folder = attempt.publish_folder
    packs = filesystem.join(attempt.folder, "packs")
    curated = curate_images(pipeline, options, threads, packs, measure_quality=True)
    checked_problem = curated.problem | "Refuse" >> RefuseCorrections(attempt.folder)
    curated = curated._replace(problem=checked_problem)
    found = collect(pipeline, curated, options)

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
        "label_errors": found.errors | "Write errors" >> lines("label_errors", error_json, error_order),
    }
    _ = (
        found.evidence
        | "Report"
        >> beam.ParDo(_Report(options, folder, threads), beam.pvalue.AsSingleton(files | "All files" >> WaitForFiles()))
        | "Publish" >> Publish(attempt, OWN_FILES, MARKER, unattended)
    )


def run(options: AuditOptions, beam_arguments: PipelineOptions) -> dict[str, Any] | None:
    """Build and run the job, and return the content of audit.json, or None if the job is left running.

    Raises:
        UsageError: If corrections cannot be made.
    """
    threads = options.threads or default_worker_threads(beam_arguments, options.paths())
    quiet_beam()
    quiet_error(InfeasibleError)
    unattended = may_outlast_command(beam_arguments)
    with output_unless_refused(options.output, MARKER, options.overwrite) as attempt:
        with (
            shown_progress(is_local_runner(beam_arguments), CHECK_PHASES),
            running_pipeline(beam_arguments, attempt.leave_to) as pipeline,
        ):
            build(pipeline, options, threads, attempt, unattended)
        if is_left_running(beam_arguments):
            return None
        if not unattended:
            attempt.publish_as_command(OWN_FILES)
    return json.loads(filesystem.read_if_exists(filesystem.join(options.output, MARKER)) or b"")
