"""Options of the score job: declare them once, parse and validate them before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.common.argument_parser import ArgumentParser, model_folder
from pipelines.common.cli import UsageError, require_job_limits
from pipelines.common.memory_limit import add_memory_budget
from pipelines.domain.model_files import add_model_fingerprint
from pipelines.score.challenge import YEARS
from pipelines.sources.location import Location

# Of the scores; each name is also the file extension.
FORMATS = ("parquet", "csv", "jsonl")
# Default of --flag_sensitivity.
SENSITIVITY = 0.95
# Value of --submission when it is given without a year, and default of --share_model.
AUTO = "auto"


DESCRIPTION = """\
Score an archive of lesion images with one exported model, or several.

Each run is a partition of its own, OUTPUT/run=DATE: every image has one row in scores-* (path, content hash, one
probability per class, top class, malignancy score, entropy, fingerprints) or one in _rejects-*.jsonl with the reason;
one bad image never takes a good one with it. _summary.json is written last and says that the run is complete. With
--previous only what is new or changed is scored. Scores are for research; they are no diagnosis.
"""


# What `--help` shows.
_FIRST = (
    *("previous", "run", "overwrite", "tta", "format", "submission", "report", "flag_sensitivity"),
    *("batch_size", "max_reject_fraction"),
)
EPILOG = """\
examples:
  once:       python -m pipelines.score --input archive/ --model out/train/model --output out/scores
  each night: python -m pipelines.score --input gs://archive --model gs://models/7 --output gs://scores \\
                --previous gs://scores --report

Any Beam option may follow. The same command makes up for one that failed, and loses nothing.
"""


@dataclass(frozen=True)
class ScoreOptions:
    """Validated options of the score job; one field for each command-line option."""

    input: tuple[str, ...]
    model: tuple[str, ...]
    output: str
    model_fingerprint: tuple[str, ...] = ()  # what the models must be; empty: any
    previous: tuple[str, ...] = ()
    run: str = ""  # name of the partition; empty: the date
    overwrite: bool = False
    allow_empty: bool = False  # whether inputs may hold no image, also before the first run
    tta: bool = False
    format: str = "parquet"
    escape_formulas: bool = False  # whether a CSV is for spreadsheets
    submission: str = ""  # a year of YEARS, AUTO, or empty for no submission
    output_table: str = ""
    report: bool = False
    report_top: int = 100  # number of images in the report
    drift_threshold: float = 0.25  # of the population stability index
    flag_sensitivity: float | None = None  # None: not given
    flag_threshold: float | None = None  # None: not given
    batch_size: int = 32
    max_reject_fraction: float = 0.25
    threads: int = 0  # per worker process; 0: the default
    memory_budget: int = 0  # bytes, see `memory_limit`
    dry_run: bool = False
    share_model: str = AUTO  # between the worker processes of a machine: AUTO, yes or no

    def locations(self) -> list[Location]:
        """Return what workers read or write, inputs first."""
        inputs = [Location("--input", path, is_input=True) for path in self.input]
        others = {"--model": self.model, "--previous": self.previous, "--output": (self.output,)}
        return [*inputs, *(Location(option, path) for option, paths in others.items() for path in paths)]


def build_parser() -> ArgumentParser:
    """Return the command-line parser, with the defaults of ScoreOptions."""
    default = ScoreOptions(input=(), model=(), output="")
    parser = ArgumentParser("python -m pipelines.score", description=DESCRIPTION, epilog=EPILOG, first=_FIRST)
    parser.add_argument(
        "--input",
        action="append",
        required=True,
        metavar="PATH",
        help="folder (any depth), glob, file, archive (.zip, .tar, .tar.gz, .hdf5), "
        "list of paths (.txt, .csv, .parquet), or a dataset "
        "of pipelines.prepare or its *.tfrecord files; local, gs:// or s3://; may be given several times",
    )
    parser.add_argument(
        "--model",
        action="append",
        type=model_folder,
        required=True,
        metavar="DIR",
        help="the model folder that trainer.task wrote; several give the mean of their probabilities",
    )
    add_model_fingerprint(parser)
    parser.add_argument("--output", required=True, metavar="DIR", help="folder in which each run gets its partition")
    parser.add_argument(
        "--previous",
        action="append",
        default=[],
        metavar="DIR",
        help="score only what no finished run in this output has scored with the same models; may be --output itself",
    )
    parser.add_argument("--run", default=default.run, metavar="NAME", help="name of the partition; by default the date")
    parser.add_argument("--overwrite", action="store_true", help="replace the finished run of this name")
    parser.add_argument(
        "--allow_empty",
        action="store_true",
        help="an input may hold no image, as an inbox on its first night; once --previous holds a finished run, it may "
        "so anyway",
    )
    parser.add_argument(
        "--tta", action="store_true", help="average over the eight flips and quarter turns of each image; slower"
    )
    parser.add_argument("--format", choices=FORMATS, default=default.format, help="of the scores")
    parser.add_argument(
        "--escape_formulas",
        action="store_true",
        help="with --format csv, for spreadsheets: put ' before text that begins like a formula (=, +, -, @, tab or "
        "line break); other programs see the ' too",
    )
    parser.add_argument(
        "--submission",
        nargs="?",
        const=AUTO,
        default=default.submission,
        choices=(AUTO, *YEARS),
        metavar="YEAR",
        help=f"write _submission.csv as the ISIC challenge of that year wants it ({' or '.join(YEARS)}); by default "
        "the one that fits the model's classes",
    )
    parser.add_argument(
        "--output_table", default=default.output_table, metavar="TABLE", help="append to PROJECT:DATASET.TABLE too"
    )
    parser.add_argument("--report", action="store_true", help="write _report.html: what to look at first")
    parser.add_argument(
        "--report_top", type=int, default=default.report_top, metavar="N", help="images on the report, 1000 at most"
    )
    parser.add_argument(
        "--drift_threshold",
        type=float,
        default=default.drift_threshold,
        metavar="PSI",
        help="warn when the classes' population stability index against the training data is higher",
    )
    parser.add_argument(
        "--flag_sensitivity",
        type=float,
        metavar="SHARE",
        help="flag images from the malignancy score on at which the model found this share of the malignant validation "
        f"images; it must have an operating point for it; by default {SENSITIVITY:g} where it has",
    )
    parser.add_argument(
        "--flag_threshold", type=float, metavar="SCORE", help="flag images from this malignancy score on instead"
    )
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
        help="exit with code 1, after writing every score, when more of the files are rejected",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=default.threads,
        metavar="N",
        help="files read at once per worker process; 0: one per core and one more; on other runners 16 "
        "from a bucket and 2 from a filesystem",
    )
    add_memory_budget(parser)
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="list inputs, say what would be scored and how long it may take, and end",
    )
    parser.add_argument(
        "--share_model",
        choices=(AUTO, "yes", "no"),
        default=default.share_model,
        help="whether the worker processes of a machine share one copy of the model; auto: not on Flink, Spark and the "
        "like, where the process that has it may end before the others",
    )
    return parser


def parse_options(argv: Sequence[str] | None) -> tuple[ScoreOptions, list[str]]:
    """Parse and validate the command line.

    Args:
        argv: The arguments without the program's name; None takes those of the process.

    Returns:
        The job's options, and the remaining arguments, which are for Beam.

    Raises:
        UsageError: An option is malformed or has an impossible value.
    """
    arguments, rest = build_parser().parse_known_args(argv)
    if arguments.batch_size < 1:
        raise UsageError(f"--batch_size {arguments.batch_size}: 1 or more is needed")
    if not 1 <= arguments.report_top <= 1000:
        raise UsageError(f"--report_top {arguments.report_top}: a number from 1 to 1000 is needed")
    if not arguments.drift_threshold > 0:
        raise UsageError(f"--drift_threshold {arguments.drift_threshold:g}: a number above 0 is needed")
    for name in ("flag_sensitivity", "flag_threshold"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value <= 1:
            raise UsageError(f"--{name} {value:g}: a number above 0 and at most 1 is needed")
    if arguments.flag_sensitivity is not None and arguments.flag_threshold is not None:
        raise UsageError(
            f"--flag_sensitivity {arguments.flag_sensitivity:g} and --flag_threshold {arguments.flag_threshold:g}: "
            "each chooses the threshold; give one of them"
        )
    if arguments.escape_formulas and arguments.format != "csv":
        raise UsageError(f"--escape_formulas: --format {arguments.format} is not for spreadsheets; add --format csv")
    require_job_limits(arguments.max_reject_fraction, arguments.threads)
    lists = {name: tuple(getattr(arguments, name)) for name in ("input", "model", "model_fingerprint", "previous")}
    return ScoreOptions(**{**vars(arguments), **lists}), rest
