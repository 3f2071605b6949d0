"""What will be written, decided from counts before anything is: is the split possible, how many shards per split."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import apache_beam as beam

from pipelines import storage
from pipelines.metadata import source_name
from pipelines.prepare_options import PrepareOptions
from pipelines.rows import SPLITS, ImageRow, fold_name, is_open, parts_of
from pipelines.split import Fractions
from pipelines.write import SplitShards

# A shard is held in memory while it is sorted, and is the unit of parallel work.
SHARD_BYTES = 16 << 20
# Standardised JPEGs at quality 95 take about half a byte per pixel (measured on the nine-class set at 180 pixels).
BYTES_PER_PIXEL = 0.5

PROBLEM_FILE = "problem.txt"


class InfeasibleError(Exception):
    """The images cannot be split as asked. Stops the pipeline; the command turns it into a usage error."""


def quiet_infeasible() -> None:
    """Keep Beam from logging InfeasibleError with a traceback: the command reports it in one line."""

    def wanted(record: logging.LogRecord) -> bool:
        raised = record.exc_info[1] if record.exc_info else None
        return not isinstance(raised, InfeasibleError) and InfeasibleError.__name__ not in record.getMessage()

    for handler_owner in ("apache_beam.runners.common", "apache_beam.runners.portability.local_job_service"):
        logging.getLogger(handler_owner).addFilter(wanted)


def problem_with(
    images: Mapping[tuple[str, str], int],
    classes: Sequence[str],
    fractions: Fractions,
    from_folders: bool,
    small_allowed: bool,
    folds: int = 0,
) -> str | None:
    """One line that says why the split cannot be done, or None.

    images: how many per (part, class), see `rows.parts_of`; small_allowed: classes that cannot be split have been taken
    out on purpose.
    """
    present = [name for name in classes if any(images.get((split, name)) for split in SPLITS)]
    if not present and from_folders:
        return "--split_from_folders: no usable image lies in a Train, Validation or Test folder; leave the option out"
    if not present:
        return (
            f"--classes {','.join(classes)!r}: no usable image lies in a folder with such a name; "
            "name the classes of your folders"
        )
    if small_allowed:
        if len(present) > 1:
            return None
        every = _every_part(folds)
        return f"--small_classes reject: {present[0]!r} alone has images enough for {every}; two classes are needed"
    for name in classes:
        if name not in present:
            if len(present) == 1:
                return f"--classes: no usable image of any class but {present[0]!r}; two classes are needed"
            return (
                f"--classes: no usable image of class {name!r}; "
                f"name those present (--classes {','.join(present)!r}) or add --small_classes reject"
            )
        missing = next((part for part in wanted_parts(fractions, folds) if not images.get((part, name))), None)
        if missing is None:
            continue
        leaves = f"leaves class {name!r} ({_total(images, name)} usable images) without"
        ways_out = "leave the class out with --classes, or add --small_classes reject"
        if missing not in SPLITS:
            return f"--folds {folds} {leaves} an image in {missing}; add images, ask for fewer folds, {ways_out}"
        option = "--split_from_folders"
        if not from_folders:
            option = f"--split_fractions {','.join(f'{share:g}' for share in fractions)}"
        return f"{option} {leaves} a {missing} image; add images, set a fraction to 0, {ways_out}"
    return None


def wanted_parts(fractions: Fractions, folds: int) -> list[str]:
    """The parts that every class must have images in: splits with a fraction above 0, and all folds."""
    splits = [split for split, fraction in zip(SPLITS, fractions, strict=True) if fraction]
    return [*splits, *map(fold_name, range(folds))]


def _every_part(folds: int) -> str:
    return "every split and fold" if folds else "every split"


def _total(images: Mapping[tuple[str, str], int], name: str) -> int:
    return sum(images.get((split, name), 0) for split in SPLITS)


def small_classes(images: Mapping[tuple[str, str], int], fractions: Fractions, folds: int = 0) -> dict[str, int]:
    """Classes that have images, but not in every split with a fraction above 0 and every fold -> their images."""
    wanted = wanted_parts(fractions, folds)
    names = sorted({name for _, name in images})
    return {name: _total(images, name) for name in names if not all(images.get((part, name)) for part in wanted)}


def _reject_small(row: ImageRow, small: Mapping[str, int], everywhere: str) -> ImageRow:
    if row.outcome or row.label not in small:
        return row
    message = f"{row.label!r} has {small[row.label]} usable images, too few for {everywhere}"
    return row.rejected("split", "class_too_small", message)


class _CountImages(beam.PTransform):
    """Rows -> ((part, class), images) of those that have no outcome yet."""

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[tuple[tuple[str, str], int]]:
        return (
            rows
            | "In a split" >> beam.Filter(is_open)
            | "Part and class" >> beam.FlatMap(lambda row: [(part, row.label) for part in parts_of(row)])
            | "Count" >> beam.combiners.Count.PerElement()
        )


class RejectSmallClasses(beam.PTransform):
    """Split rows -> the same rows; those of a class that a split or fold lacks are rejected (`class_too_small`)."""

    def __init__(self, fractions: Fractions, folds: int = 0):
        super().__init__()
        self._fractions = fractions
        self._folds = folds

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        # Found once, not once per row: with many folds there are many counts.
        small = (
            rows.pipeline
            | "Once" >> beam.Create([None])
            | "Small"
            >> beam.Map(
                lambda _, *counts_and_limits: small_classes(*counts_and_limits),
                beam.pvalue.AsDict(rows | "Count images" >> _CountImages()),
                self._fractions,
                self._folds,
            )
        )
        return rows | "Reject" >> beam.Map(_reject_small, beam.pvalue.AsSingleton(small), _every_part(self._folds))


def shard_count(examples: int, image_size: int) -> int:
    """Shards for a split or fold: about SHARD_BYTES each, at least one."""
    return max(1, -(-int(examples * image_size * image_size * BYTES_PER_PIXEL) // SHARD_BYTES))


def plan_shards(examples: Mapping[tuple[str, int], int], folds: int, image_size: int) -> dict[str, SplitShards]:
    """The shards of each split that has examples. examples: how many per (split, fold)."""
    shards = {}
    for split in SPLITS:
        # Every fold has as many shards as the largest needs, so that a shard's number tells its fold.
        largest = max((count for (name, _), count in examples.items() if name == split), default=0)
        if largest:
            shards[split] = SplitShards(shard_count(largest, image_size), folds if split == "train" else 0)
    return shards


def unused_table(options: PrepareOptions, known: Mapping[str, int]) -> str | None:
    """One line about a table that knows none of the images, or None. known: images per table's name."""
    for path in options.metadata:
        if not known.get(source_name(path)):
            return f"--metadata {path}: knows none of the images; do its ids match the file names? else leave it out"
    return None


class _Decide(beam.DoFn):
    """Counts -> {split: SplitShards}; raises InfeasibleError, after leaving the reason where the command finds it."""

    def __init__(self, options: PrepareOptions, temporary: str):
        self._options = options
        self._temporary = temporary

    def process(
        self,
        _: None,
        images: Mapping[tuple[str, str], int],
        examples: Mapping[tuple[str, int], int],
        problems: Sequence[str],
        known: Mapping[str, int],
    ) -> list[dict[str, SplitShards]]:
        options = self._options
        problem = (
            (f"--splits_file {options.splits_file}: {problems[0]}" if problems else None)
            or unused_table(options, known)
            or problem_with(
                images,
                options.classes,
                options.split_fractions,
                options.split_from_folders,
                options.small_classes == "reject",
                options.folds,
            )
        )
        if problem:
            storage.write_bytes(storage.join(self._temporary, PROBLEM_FILE), problem.encode())
            raise InfeasibleError(problem)
        return [plan_shards(examples, options.folds, options.image_size)]


class PlanShards(beam.PTransform):
    """Rows with split and copies, problems with the splits file, a table's name for each image that it knows ->
    one {split: SplitShards}."""

    def __init__(self, options: PrepareOptions, temporary: str):
        super().__init__()
        self._decide = _Decide(options, temporary)

    def expand(self, inputs: tuple[beam.PCollection, ...]) -> beam.PCollection[dict[str, SplitShards]]:
        rows, problems, tables = inputs
        known = tables | "Count known" >> beam.combiners.Count.PerElement()
        first = problems | "First problem" >> beam.combiners.Top.Smallest(1)
        images = beam.pvalue.AsDict(rows | "Count images" >> _CountImages())
        examples = beam.pvalue.AsDict(
            rows
            | "Copies" >> beam.Map(lambda row: ((row.split, row.fold), row.copies))
            | "Count examples" >> beam.CombinePerKey(sum)
        )
        return (
            rows.pipeline
            | "Once" >> beam.Create([None])
            | "Decide"
            >> beam.ParDo(self._decide, images, examples, beam.pvalue.AsSingleton(first), beam.pvalue.AsDict(known))
        )
