"""Command line of the score job (`python -m pipelines.score`): parse, validate, run, report."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence

from pipelines.beam.arguments import BeamArguments
from pipelines.common import console, last_run
from pipelines.dataset import accounting
from pipelines.score.options import build_parser, parse_options
from pipelines.storage import output, partitions
from pipelines.storage.filesystem import join
from pipelines.storage.partitions import MARKER


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options, run the job and print its summary.

    Raises:
        UsageError: The command line or the input is wrong.
        LimitExceeded: More of the new files were rejected than --max_reject_fraction allows.
    """
    options, rest = parse_options(argv)
    beam_arguments = BeamArguments(rest, "score", build_parser().options())
    # Imported once the command line is sound: the plan needs numpy.
    from pipelines.score.job import OWN_FILES, earlier_partitions, plan_run

    job = plan_run(options, beam_arguments, datetime.datetime.now(datetime.UTC))
    console.announce(options.input, job.partition)
    if options.dry_run:
        # Imported late: a run has no need of it.
        from pipelines.score.preview import dry_run_lines

        print("\n".join(dry_run_lines(job)))
        return
    started = time.monotonic()
    if name := partitions.settle_interrupted(options.output, job.partition, OWN_FILES):
        print(f"run {name} had been interrupted at its very end and is now finished")
    with output.begun(job.partition, MARKER, options.overwrite, options.output) as attempt:
        # Looked for again, as no other run can finish from now on.
        job = job._replace(earlier=earlier_partitions(options, job.partition))
        # The job is imported once the plan is good: Beam and what comes with it take seconds to start.
        from pipelines.score.pipeline import run

        summary = run(job, attempt, beam_arguments.options)
    if summary is None:
        print(f"left running; {join(job.partition, MARKER)} appears when it is done")
        return
    counts = summary["counts"]
    if not counts["scored"] + counts["rejected"]:
        known = counts["unchanged"]
        print(f"nothing new: {f'all {known} images were scored or rejected before' if known else 'there is no image'}")
        return
    last_run.note("score", counts["scored"] + counts["rejected"], time.monotonic() - started)
    from pipelines.score.scored_keys import failed_again
    from pipelines.score.summary import report_lines

    print(*report_lines(summary, job.partition), sep="\n")
    # Check new files only: many unchanged files must not hide a bad night, and one file that fails every night must
    # not make every night a bad one.
    again = failed_again(job.partition, job.earlier)
    if again:
        print(f"{again} of the rejected files could not be read in earlier runs either")
    new = {"listed": counts["scored"] + counts["rejected"] - again, "rejected": counts["rejected"] - again}
    accounting.check_reject_fraction(new, options.max_reject_fraction, job.partition)
