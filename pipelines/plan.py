"""What will be written, decided from counts before anything is: is the split possible, how many shards per split."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import apache_beam as beam

from pipelines import storage
from pipelines.layouts import FOLDERS, RECOGNIZE
from pipelines.prepare_options import PrepareOptions
from pipelines.rows import SPLITS, ImageRow, is_open
from pipelines.split import Fractions

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
) -> str | None:
    """One line that says why the split cannot be done, or None.

    images: how many per (split, class); small_allowed: classes that cannot be split have been taken out on purpose.
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
        return f"--small_classes reject: {present[0]!r} alone has images enough for every split; two classes are needed"
    for name in classes:
        if name not in present:
            if len(present) == 1:
                return f"--classes: no usable image of any class but {present[0]!r}; two classes are needed"
            return (
                f"--classes: no usable image of class {name!r}; "
                f"name those present (--classes {','.join(present)!r}) or add --small_classes reject"
            )
        for split, fraction in zip(SPLITS, fractions, strict=True):
            if not fraction or images.get((split, name)):
                continue
            option = "--split_from_folders"
            if not from_folders:
                option = f"--split_fractions {','.join(f'{share:g}' for share in fractions)}"
            total = sum(images.get((other, name), 0) for other in SPLITS)
            return (
                f"{option} leaves class {name!r} ({total} usable images) without a {split} image; "
                "add images, set a fraction to 0, leave the class out with --classes, or add --small_classes reject"
            )
    return None


def small_classes(images: Mapping[tuple[str, str], int], fractions: Fractions) -> set[str]:
    """Classes that have images, but not in every split with a fraction above 0."""
    wanted = [split for split, fraction in zip(SPLITS, fractions, strict=True) if fraction]
    return {name for _, name in images if not all(images.get((split, name)) for split in wanted)}


def _reject_small(row: ImageRow, images: Mapping[tuple[str, str], int], fractions: Fractions) -> ImageRow:
    if row.outcome or row.label not in small_classes(images, fractions):
        return row
    total = sum(images.get((split, row.label), 0) for split in SPLITS)
    return row.rejected("split", "class_too_small", f"{row.label!r} has {total} usable images, too few for every split")


class _CountImages(beam.PTransform):
    """Rows -> ((split, class), images) of those that have no outcome yet."""

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[tuple[tuple[str, str], int]]:
        return (
            rows
            | "In a split" >> beam.Filter(is_open)
            | "Split and class" >> beam.Map(lambda row: (row.split, row.label))
            | "Count" >> beam.combiners.Count.PerElement()
        )


class RejectSmallClasses(beam.PTransform):
    """Split rows -> the same rows; those of a class that some split lacks are rejected (`class_too_small`)."""

    def __init__(self, fractions: Fractions):
        super().__init__()
        self._fractions = fractions

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        counts = beam.pvalue.AsDict(rows | "Count images" >> _CountImages())
        return rows | "Reject" >> beam.Map(_reject_small, counts, self._fractions)


def shard_count(examples: int, image_size: int) -> int:
    """Shards for a split: about SHARD_BYTES each, at least one."""
    return max(1, -(-int(examples * image_size * image_size * BYTES_PER_PIXEL) // SHARD_BYTES))


def unused_table(options: PrepareOptions, known: Mapping[str, int]) -> str | None:
    """One line about a table that knows none of the images, or None. known: images per table's name.

    Of tables that were found beside images one must know some; those of other images may lie there too.
    """
    why = "knows none of the images; do its ids match the file names?"
    for table in (*options.metadata, *(table for source in options.sources for table in source.tables)):
        if not table.found and not known.get(table.name):
            return f"{table.option} {table.path}: {why} else leave it out"
    for source in options.sources:
        found = [table for table in source.tables if table.found]
        if found and not any(known.get(table.name) for table in found):
            out = f"else leave it out with layout {FOLDERS}" if source.layout == RECOGNIZE else "else name the table"
            return f"{source.option} {source.path}: {found[0].path}, found with it, {why} {out}"
    return None


class _Decide(beam.DoFn):
    """Counts -> {split: shards}; raises InfeasibleError, after leaving the reason where the command finds it."""

    def __init__(self, options: PrepareOptions, temporary: str):
        self._options = options
        self._temporary = temporary

    def process(
        self,
        _: None,
        images: Mapping[tuple[str, str], int],
        examples: Mapping[str, int],
        problems: Sequence[str],
        known: Mapping[str, int],
    ) -> list[dict[str, int]]:
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
            )
        )
        if problem:
            storage.write_bytes(storage.join(self._temporary, PROBLEM_FILE), problem.encode())
            raise InfeasibleError(problem)
        return [{split: shard_count(examples[split], options.image_size) for split in SPLITS if examples.get(split)}]


class PlanShards(beam.PTransform):
    """Rows with split and copies, problems with the splits file, a table's name for each image that it knows ->
    one {split: number of shards}."""

    def __init__(self, options: PrepareOptions, temporary: str):
        super().__init__()
        self._decide = _Decide(options, temporary)

    def expand(self, inputs: tuple[beam.PCollection, ...]) -> beam.PCollection[dict[str, int]]:
        rows, problems, tables = inputs
        known = tables | "Count known" >> beam.combiners.Count.PerElement()
        first = problems | "First problem" >> beam.combiners.Top.Smallest(1)
        images = beam.pvalue.AsDict(rows | "Count images" >> _CountImages())
        examples = beam.pvalue.AsDict(
            rows
            | "Copies" >> beam.Map(lambda row: (row.split, row.copies))
            | "Count examples" >> beam.CombinePerKey(sum)
        )
        return (
            rows.pipeline
            | "Once" >> beam.Create([None])
            | "Decide"
            >> beam.ParDo(self._decide, images, examples, beam.pvalue.AsSingleton(first), beam.pvalue.AsDict(known))
        )
