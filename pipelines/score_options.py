"""Options of the score job: declared once, parsed and validated before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.cli import ArgumentParser, UsageError, require_job_limits

DESCRIPTION = """\
Score an archive of lesion images with an exported model.

Every image under --input gets one row in OUTPUT/scores-*.parquet: path, content hash, one probability per class, top
class, malignancy score (the sum over malignant classes) and the model's fingerprint. Files that cannot be scored are
listed with the reason in OUTPUT/rejects-*.jsonl; one bad image never takes a good one with it. summary.json is
written last. Scores are for research; they are no diagnosis.
"""

EPILOG = """\
example:
  python -m pipelines.score --input archive/ --model out/train/model --output out/scores

Any Beam option may follow. Exit codes: 0 done, 1 done but more files rejected than --max_reject_fraction,
2 wrong use, other: failed.
"""


@dataclass(frozen=True)
class ScoreOptions:
    """What the user asked for, validated. threads: 0 stands for one per core."""

    input: tuple[str, ...]
    model: str
    output: str
    batch_size: int = 32
    max_reject_fraction: float = 0.25
    threads: int = 0
    overwrite: bool = False


def build_parser() -> ArgumentParser:
    """The command line; its defaults are those of ScoreOptions."""
    default = ScoreOptions(input=(), model="", output="")
    parser = ArgumentParser("python -m pipelines.score", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument(
        "--input",
        action="append",
        required=True,
        metavar="PATH",
        help="folder (any depth), glob or file, local or gs://; may be given several times",
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="the model folder that trainer.task wrote")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the scores, new or empty")
    parser.add_argument("--overwrite", action="store_true", help="replace finished scores in --output")
    parser.add_argument(
        "--batch_size",
        type=int,
        default=default.batch_size,
        metavar="N",
        help="images sent to the model at once, at most",
    )
    parser.add_argument(
        "--max_reject_fraction",
        type=float,
        default=default.max_reject_fraction,
        metavar="FRACTION",
        help="exit with code 1, after writing every score, when more of the listed files are rejected",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=default.threads,
        metavar="N",
        help="files read at once per worker process; 0: one per core",
    )
    return parser


def parse_options(argv: Sequence[str] | None) -> tuple[ScoreOptions, list[str]]:
    """The job's options and what is left for Beam. Raises UsageError for a value that cannot be right."""
    arguments, rest = build_parser().parse_known_args(argv)
    if arguments.batch_size < 1:
        raise UsageError(f"--batch_size {arguments.batch_size}: 1 or more is needed")
    require_job_limits(arguments.max_reject_fraction, arguments.threads)
    return ScoreOptions(**{**vars(arguments), "input": tuple(arguments.input)}), rest
