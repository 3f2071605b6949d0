"""Command-line options of the audit job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.common.argument_parser import ArgumentParser
from pipelines.curation.command_line import add_curation_options, curation_values
from pipelines.curation.options import CurationOptions
from pipelines.sources.location import Location

MARKER = "audit.json"
PAGE = "report.html"
DESCRIPTION = """\
Look at an archive of lesion images as prepare would, and say what is wrong with it. Nothing but the report is written.

Reports images per class and source, rejected files by reason, duplicates, images whose sources disagree, lesions on
both sides of Train/Test folders (or of --splits_file), near-duplicates, labels that are probably wrong (with
--predictions), image sizes and licences: a summary on the terminal, OUTPUT/audit.json, and OUTPUT/report.html with
pictures. Beside them all files in manifest-*.parquet, and all findings in rejects-, conflicts-, leakage-,
near_duplicates- and label_errors-*.jsonl.
"""
# What `--help` shows.
_FIRST = ("metadata", "overwrite", "classes", "split_from_folders", "corrections", "predictions")
EPILOG = """\
example:
  python -m pipelines.audit --input data/Train --metadata HAM10000_metadata.csv --output out/audit

Any Beam option may follow.
"""


@dataclass(frozen=True)
class AuditOptions(CurationOptions):
    """Validated options of the audit job."""

    predictions: str = ""  # a table of out-of-fold predictions

    def locations(self) -> list[Location]:
        """Return what workers read or write, inputs first."""
        own = [Location("--predictions", self.predictions)] if self.predictions else []
        return [*super().locations(), *own]


def build_parser() -> ArgumentParser:
    """Return the command-line parser; its defaults are those of AuditOptions."""
    parser = ArgumentParser("python -m pipelines.audit", description=DESCRIPTION, epilog=EPILOG, first=_FIRST)
    # Allow any number of rejects: what prepare would refuse, an audit reports.
    default = AuditOptions(sources=(), output="", max_reject_fraction=1.0)
    add_curation_options(parser, default, "folder for the report, new or empty; local or gs://")
    found = parser.add_argument_group("what is searched for")
    found.add_argument(
        "--predictions",
        default=default.predictions,
        metavar="PARQUET",
        help="out_of_fold.parquet of trainer.experiment: rank images whose label is probably wrong, by confident "
        "learning",
    )
    return parser


def parse_options(argv: Sequence[str] | None) -> tuple[AuditOptions, list[str]]:
    """Parse and validate the command line.

    Args:
        argv: The arguments without the program's name; None takes those of the process.

    Returns:
        The job's options, and the remaining arguments, which are for Beam.

    Raises:
        UsageError: An option is malformed or has an impossible value.
    """
    arguments, rest = build_parser().parse_known_args(argv)
    return AuditOptions(**curation_values(arguments), predictions=arguments.predictions), rest
