"""Command line of the audit job (`python -m pipelines.audit`): parse, validate, run, report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from pipelines.audit.options import MARKER, PAGE, build_parser, parse_options
from pipelines.beam.arguments import BeamArguments
from pipelines.common import console, last_run
from pipelines.curation.command_line import print_notes, with_found_tables
from pipelines.dataset import accounting
from pipelines.dataset.frequent_lesions import frequent_lines
from pipelines.sources.locations import check_locations
from pipelines.storage import filesystem, output


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
        f" + rejected {counts['rejected']}" + (f" + ignored {counts['ignored']}" if counts["ignored"] else ""),
        *accounting.beside_lines(report["beside"], filesystem.join(folder, MARKER)),
        f"distinct ids: {counts['distinct_ids']}; files named like copies: {report['repeated_names']['files']}",
        f"lesions: {lesions['distinct']}, of which {lesions['with_several_images']} have several images"
        f" ({lesions['ids']['known']} ids)",
    ]
    lines += frequent_lines(lesions["frequent"])
    lines += [f"  {entry['reason']}: {entry['files']}" for entry in report["rejects"]]
    lines.append(f"label conflicts: {conflicts['images']} images in {conflicts['files']} files")
    lines += [
        f"  {' / '.join(pair['labels'])}: {pair['images']} images, {pair['files']} files" for pair in conflicts["pairs"]
    ]
    if sum(1 for files in leakage["given"].values() if files) > 1:
        files = " + ".join(f"{leakage['files'][split]} {split}" for split in leakage["files"])
        lines.append(f"leakage across the given splits: {leakage['groups']} groups, files {files}")
    lines.append(f"near-duplicates: {near['pairs']} pairs, {near['other_label']} of them under different labels")
    lines.append(f"photographs of doubtful quality: {report['quality']['files']}")
    lines += [f"  {entry['issue']}: {entry['files']}" for entry in report["quality"]["issues"]]
    if errors := report["label_errors"]:
        lines.append(f"labels that are probably wrong: {errors['found']} of {errors['images']} with a prediction")
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
    beam_arguments = BeamArguments(rest, "audit", build_parser().options())
    locations = options.locations()
    check_locations(locations, beam_arguments.options_for(location.path for location in locations))
    if options.predictions:
        # Imported late: it needs numpy.
        from pipelines.audit.predictions import require_predictions

        require_predictions(options.predictions, options.classes)
    options = with_found_tables(options)
    output.require_output(options.output, MARKER, options.overwrite, options.paths())
    console.announce([source.path for source in options.sources], options.output)
    print_notes(options)
    if options.dry_run:
        # Imported late: a run has no need of it.
        from pipelines.curation.preview import dry_run_lines

        print("\n".join(dry_run_lines("audit", options, f"{PAGE}, {MARKER} and tables")))
        return
    started = time.monotonic()
    # The job is imported once the options are good: Beam and what comes with it take seconds to start.
    from pipelines.audit.pipeline import run

    report = run(options, beam_arguments.options)
    if report is None:
        print(f"left running; {filesystem.join(options.output, MARKER)} appears when it is done")
        return
    last_run.note("audit", report["counts"]["listed"], time.monotonic() - started)
    print("\n".join([*options.read_as(), *summary_lines(report, options.output)]))
    judged = accounting.photographs(report["counts"], report["masks"]["files"])
    accounting.check_reject_fraction(judged, options.max_reject_fraction, options.output)
