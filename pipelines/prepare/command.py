"""Command line of the prepare job (`python -m pipelines.prepare`): parse, validate, run, report."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pipelines.beam.arguments import BeamArguments
from pipelines.common import console, last_run
from pipelines.curation.command_line import print_notes, with_found_tables
from pipelines.dataset import accounting
from pipelines.dataset.image_row import MASK
from pipelines.domain.dataset_json import DATASET_JSON
from pipelines.prepare.options import build_parser, parse_options
from pipelines.prepare.summary import summary_lines, update_line
from pipelines.sources.locations import check_locations
from pipelines.storage import filesystem, output


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command: parse, validate, run, report.

    Args:
        argv: The arguments after the program name; None for those of the process.

    Raises:
        UsageError: If the options or inputs cannot be used.
        LimitExceeded: If more files are rejected than --max_reject_fraction allows.
    """
    options, rest = parse_options(argv)
    beam_arguments = BeamArguments(rest, "prepare", build_parser().options())
    locations = options.locations()
    check_locations(locations, beam_arguments.options_for(location.path for location in locations))
    options = with_found_tables(options)
    output.require_output(options.output, DATASET_JSON, options.overwrite or options.update, options.paths())
    console.announce([source.path for source in options.sources], options.output)
    print_notes(options)
    if options.dry_run:
        # Imported late: a run has no need of it.
        from pipelines.curation.preview import dry_run_lines

        print(
            "\n".join(
                dry_run_lines(
                    "prepare", options, f"{options.image_size} px, {options.encoding}, balance {options.balance}"
                )
            )
        )
        return
    started = time.monotonic()
    # The job is imported once the options are good: Beam and what comes with it take seconds to start.
    from pipelines.prepare.pipeline import run
    from pipelines.prepare.update import building_on_output

    if options.update:
        options = building_on_output(options)
    done = run(options, beam_arguments.options)
    if done is None:
        print(f"left running; {filesystem.join(options.output, DATASET_JSON)} appears when it is done")
        return
    description, reused = done
    last_run.note("prepare", description["counts"]["listed"], time.monotonic() - started)
    print("\n".join([*options.read_as(), *summary_lines(description, options.output)]))
    if options.update:
        print(update_line(description, reused))
    judged = accounting.photographs(description["counts"], description["dropped"].get(MASK, 0))
    accounting.check_reject_fraction(judged, options.max_reject_fraction, options.output)
