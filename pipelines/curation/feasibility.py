"""Find out from counts whether the images can be split as asked, before anything is written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

import apache_beam as beam

from pipelines.common.cli import UsageError
from pipelines.curation import folder_splits
from pipelines.curation.corrections import OPTION
from pipelines.curation.fractions import Fractions
from pipelines.curation.not_understood import not_understood
from pipelines.curation.options import CurationOptions
from pipelines.curation.value_counts import UNMAPPED_LABEL, FrequentValues
from pipelines.dataset.image_row import REJECTED, ImageRow, fold_name, is_open, parts_of
from pipelines.domain.dataset_json import SPLITS
from pipelines.domain.layout_registry import FOLDERS, RECOGNIZE
from pipelines.storage import filesystem, output
from pipelines.storage.attempt import Attempt


def problem_with(
    images: Mapping[tuple[str, str], int],
    classes: Sequence[str],
    fractions: Fractions,
    from_folders: bool,
    small_allowed: bool,
    folds: int = 0,
    unclear: str = "",
) -> str | None:
    """Return one line that says why the split cannot be done, or None.

    Args:
        images: The number of images per (part, class), see `image_row.parts_of`.
        classes: Class names in label order.
        fractions: The fractions of the splits.
        from_folders: Whether folders name the splits.
        small_allowed: Whether classes that cannot be split have been taken out on purpose.
        folds: The number of folds; 0 for none.
        unclear: Which labels were not understood, see `not_understood`; it is added where a class has no image.
    """
    present = [name for name in classes if any(images.get((split, name)) for split in SPLITS)]
    if small_allowed:
        if len(present) > 1:
            return None
        every = _every_part(folds)
        return f"--small_classes reject: {present[0]!r} alone has images enough for {every}; two classes are needed"
    for name in classes:
        if name not in present:
            if len(present) == 1:
                return f"--classes: no usable image of any class but {present[0]!r}{unclear}; two classes are needed"
            return (
                f"--classes: no usable image of class {name!r}{unclear}; "
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
    """Return the parts in which every class must have images: splits with a fraction above 0, and all folds."""
    splits = [split for split, fraction in zip(SPLITS, fractions, strict=True) if fraction]
    return [*splits, *map(fold_name, range(folds))]


def _every_part(folds: int) -> str:
    return "every split and fold" if folds else "every split"


def _total(images: Mapping[tuple[str, str], int], name: str) -> int:
    return sum(images.get((split, name), 0) for split in SPLITS)


def small_classes(images: Mapping[tuple[str, str], int], fractions: Fractions, folds: int = 0) -> dict[str, int]:
    """Count the images of each class that has none in some split with a fraction above 0 or in some fold.

    Args:
        images: The number of images per (part, class), see `image_row.parts_of`.
        fractions: The fractions of the splits.
        folds: The number of folds; 0 for none.

    Returns:
        The number of usable images of each such class. Classes without any image are not included.
    """
    wanted = wanted_parts(fractions, folds)
    names = sorted({name for _, name in images})
    return {name: _total(images, name) for name in names if not all(images.get((part, name)) for part in wanted)}


def _reject_small(row: ImageRow, small: Mapping[str, int], everywhere: str) -> ImageRow:
    if row.outcome or row.label not in small:
        return row
    message = f"{row.label!r} has {small[row.label]} usable images, too few for {everywhere}"
    return row.rejected("split", "class_too_small", message)


class _CountImages(beam.PTransform):
    """PTransform from rows to ((part, class), number of images), over the rows without an outcome."""

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[tuple[tuple[str, str], int]]:
        return (
            rows
            | "In a split" >> beam.Filter(is_open)
            | "Part and class" >> beam.FlatMap(lambda row: [(part, row.label) for part in parts_of(row)])
            | "Count" >> beam.combiners.Count.PerElement()
        )


class RejectSmallClasses(beam.PTransform):
    """PTransform that rejects the images of classes that some split or fold lacks (`class_too_small`).

    Args:
        fractions: The fractions of the splits.
        folds: The number of folds; 0 for none.
    """

    def __init__(self, fractions: Fractions, folds: int = 0):
        super().__init__()
        self._fractions = fractions
        self._folds = folds

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        """Turn rows with a split into the same rows, those of small classes rejected."""
        # Computed once, not once per row: with many folds there are many counts.
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


def unused_table(options: CurationOptions, known_images: Mapping[str, int]) -> str | None:
    """Return one line about a table that knows none of the images, or None.

    Of the tables that were found beside a source's images at least one must know some; tables of other images may lie
    there too.

    Args:
        options: The validated options.
        known_images: The number of images that each table knows, by the table's name.
    """
    why = "knows none of the images; do its ids match the file names?"
    for table in (*options.metadata, *(table for source in options.sources for table in source.tables)):
        if not table.found and not known_images.get(table.name):
            return f"{table.option} {table.path}: {why} else leave it out"
    for source in options.sources:
        found = [table for table in source.tables if table.found]
        if found and not any(known_images.get(table.name) for table in found):
            out = f"else leave it out with layout {FOLDERS}" if source.layout == RECOGNIZE else "else name the table"
            return f"{source.option} {source.path}: {found[0].path}, found with it, {why} {out}"
    return None


def nothing_left(options: CurationOptions, reasons: Mapping[str, int], unmapped: Sequence[tuple[str, int]]) -> str:
    """Return one line for a run that has no image left.

    The reason that most files were rejected for decides which option the line names.

    Args:
        options: The validated options.
        reasons: The number of files rejected for each reason.
        unmapped: Labels without a class and their numbers of files, most frequent first.
    """
    counted = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    blamed = {
        "unmapped_label": (f"--classes {','.join(options.classes)!r}", "name the classes of your folders and tables"),
        "label_conflict": ("--on_label_conflict", "trust=SOURCE lets one source decide"),
        "license": (f"--licenses {','.join(options.licenses)}", "allow one that the images have"),
        "class_too_small": ("--small_classes reject", "ask for fewer folds, or set a fraction to 0"),
        "no_split_folder": (
            "--split_from_folders",
            f"leave the option out, or name folders as it knows them: {folder_splits.KNOWN}",
        ),
    }
    otherwise = ("--input", "python -m pipelines.audit shows which and why")
    option, way_out = blamed.get(counted[0][0] if counted else "", otherwise)
    why = ", ".join(f"{reason} {files}" for reason, files in counted)
    return f"{option}: no usable image ({why}){not_understood(unmapped, options.class_set)}; {way_out}"


def find_problem(
    options: CurationOptions,
    images: Mapping[tuple[str, str], int],
    reasons: Mapping[str, int],
    problems: Sequence[str],
    known_images: Mapping[str, int],
    unmapped: Sequence[tuple[str, int]] = (),
) -> str | None:
    """Return one line that says why these images cannot be prepared as asked, or None.

    Args:
        options: The validated options.
        images: The number of images per (part, class), see `image_row.parts_of`.
        reasons: The number of files rejected for each reason.
        problems: Problems with the splits file, the corrections or ids, each a whole line.
        known_images: The number of images that each table knows, by the table's name.
        unmapped: Labels without a class and their numbers of files, most frequent first.
    """
    return (
        (problems[0] if problems else None)
        or unused_table(options, known_images)
        or (nothing_left(options, reasons, unmapped) if not images else None)
        or problem_with(
            images,
            options.classes,
            options.split_fractions,
            options.split_from_folders,
            options.small_classes == "reject",
            options.folds,
            not_understood(unmapped, options.class_set),
        )
    )


class FindProblem(beam.PTransform):
    """PTransform that finds why the images cannot be prepared as asked."""

    def __init__(self, options: CurationOptions):
        super().__init__()
        self._options = options

    def expand(self, inputs: tuple[beam.PCollection, ...]) -> beam.PCollection[str]:
        """Turn what is known of the images into one line that describes a problem, or one empty line.

        Args:
            inputs: Rows with a split; rows with an outcome; problems with the splits file, the corrections or ids; and,
                for each image that a table knows, the name of the table.
        """
        rows, dropped, problems, tables = inputs
        options = self._options
        known_images = tables | "Count known" >> beam.combiners.Count.PerElement()
        first = problems | "First problem" >> beam.combiners.Top.Smallest(1)
        reasons = (
            dropped
            | "Rejected rows" >> beam.Filter(lambda row: row.outcome == REJECTED)
            | "Reason" >> beam.Map(lambda row: row.reason)
            | "Count reasons" >> beam.combiners.Count.PerElement()
        )
        unmapped = (
            dropped
            | "Labels without a class" >> FrequentValues((UNMAPPED_LABEL,))
            | "Most frequent first" >> beam.Values()
        )
        return (
            rows.pipeline
            | "Once" >> beam.Create([None])
            | "Find"
            >> beam.Map(
                lambda _, *found: find_problem(options, *found) or "",
                beam.pvalue.AsDict(rows | "Count images" >> _CountImages()),
                beam.pvalue.AsDict(reasons),
                beam.pvalue.AsSingleton(first),
                beam.pvalue.AsDict(known_images),
                beam.pvalue.AsSingleton(unmapped, default_value=()),
            )
        )


PROBLEM_FILE = "problem.txt"


class InfeasibleError(Exception):
    """Error that stops the pipeline because the images cannot be used as asked.

    The command turns it into a usage error.
    """


def refuse(problem: str, temporary: str) -> NoReturn:
    """Write a problem where `output_unless_refused` finds it, and raise InfeasibleError.

    Args:
        problem: One line.
        temporary: The folder of the job's intermediate files.
    """
    filesystem.write_bytes(filesystem.join(temporary, PROBLEM_FILE), problem.encode())
    raise InfeasibleError(problem)


@contextlib.contextmanager
def output_unless_refused(folder: str, marker: str, overwrite: bool) -> Iterator[Attempt]:
    """Begin an output, and leave nothing of it if the pipeline run in this context is refused.

    Args:
        folder: The output.
        marker: Name of the file that marks an output as finished.
        overwrite: Whether a finished output may be replaced.

    Yields:
        The attempt at the output.

    Raises:
        UsageError: The problem for which the pipeline was refused, or another run has the output. If it failed
            otherwise, its own error passes.
    """
    with output.begun(folder, marker, overwrite) as attempt:
        try:
            yield attempt
        except UsageError:
            raise
        except Exception as error:
            problem = filesystem.read_if_exists(filesystem.join(attempt.folder, PROBLEM_FILE))
            if problem is None:
                raise
            raise UsageError(problem.decode()) from error


class RefuseCorrections(beam.PTransform):
    """PTransform that stops the pipeline if the problem is that corrections cannot be made.

    Args:
        temporary: The folder of the job's intermediate files.
    """

    def __init__(self, temporary: str):
        super().__init__()
        self._temporary = temporary

    def expand(self, problem: beam.PCollection[str]) -> beam.PCollection[str]:
        """Turn the one line of FindProblem into itself."""
        return problem | "Other problems" >> beam.Map(_pass_other, self._temporary)


def _pass_other(problem: str, temporary: str) -> str:
    if problem.startswith(f"{OPTION} "):
        refuse(problem, temporary)
    return problem
