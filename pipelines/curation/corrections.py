"""Corrections that people make to images, as a table: keep, drop or relabel. Imports no Beam."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from pipelines.common.cli import UsageError
from pipelines.common.csv_tables import in_line
from pipelines.common.text import printable
from pipelines.dataset.image_row import ImageRow
from pipelines.domain.image_ids import isic_id_of
from pipelines.domain.metadata_columns import Columns, cells_of, spelled
from pipelines.domain.taxonomy import ClassSet
from pipelines.sources.metadata_tables import require_table, table_rows

OPTION = "--corrections"

KEEP = "keep"
DROP = "drop"
RELABEL = "relabel"
ACTIONS = (KEEP, DROP, RELABEL)

PATH_COLUMN = "path"
ACTION_COLUMN = "action"
LABEL_COLUMN = "label"
FINDING_COLUMN = "finding"


class Correction(NamedTuple):
    """What to do with one image."""

    action: str
    label: str = ""  # the class that a relabel gives
    finding: str = ""  # what the audit had found, for people

    def said(self) -> str:
        """Return the correction in words, for a message."""
        return f"{self.action} as {self.label!r}" if self.label else self.action


class CorrectionsFile(NamedTuple):
    """A table of corrections that has been checked."""

    path: str = ""  # empty: none is given
    digest: str = ""  # SHA-256 of what it says, whatever the order of its rows
    counts: tuple[tuple[str, int], ...] = ()  # action -> number of names

    def read_as(self) -> str:
        """Return a line that says what the file holds."""
        return f"corrected by {self.path}: {', '.join(f'{action} {count}' for action, count in self.counts)}"


NO_CORRECTIONS = CorrectionsFile()


def _name(text: str) -> str:
    """Return a name as `names_of` gives it: ISIC ids in upper case."""
    isic_id = isic_id_of(text)
    return isic_id if isic_id == text.upper() else text


def names_of(row: ImageRow) -> list[str]:
    """Return the names by which corrections may call a file, the most precise first.

    They are its path as the manifest has it, its path below the input, its file name, and its image id.
    """
    relative = printable(row.relative)
    names = (printable(row.path), relative, posixpath.basename(relative), row.image_id)
    return list(dict.fromkeys(_name(name.strip()) for name in names if name.strip()))


def _label(text: str, class_set: ClassSet) -> str:
    """Return the one class that a label stands for; empty if it stands for none or for several."""
    if text in class_set.classes:
        return text
    classes = class_set.classes_of([text])
    return classes[0] if len(classes) == 1 else ""


def _correction(name: str, row: Mapping[str, str], class_set: ClassSet) -> Correction:
    """Return the correction in a row of the table.

    Raises:
        ValueError: The row has no known action, or not the label that its action needs.
    """
    action, text, finding = map(cells_of(row), (ACTION_COLUMN, LABEL_COLUMN, FINDING_COLUMN))
    if action.lower() not in ACTIONS:
        raise ValueError(f"{name} has the action {action!r}; {', '.join(ACTIONS)} are known")
    if action.lower() != RELABEL:
        if text:
            raise ValueError(f"{name} has the action {action} and a label, {text!r}; only {RELABEL} takes one")
        return Correction(action.lower(), finding=finding)
    if label := _label(text, class_set):
        return Correction(RELABEL, label, finding)
    raise ValueError(
        f"{name} is relabelled as {text!r}, which is not one class of {', '.join(class_set.classes)} (--classes)"
    )


def read_corrections(path: str, class_set: ClassSet) -> dict[str, Correction]:
    """Read a table of corrections.

    Args:
        path: A CSV with a column of image ids or paths, a column `action`, and `label` for relabels. A column `path`
            outranks that of ids, which several files may share.
        class_set: What labels stand for.

    Returns:
        The correction of each name.

    Raises:
        UsageError: The file is no such table, or says two things of one name.
    """
    columns = require_table(OPTION, path).names
    name_columns = [name for name in (spelled(columns, [PATH_COLUMN]), Columns().id_column(columns)) if name]
    if not name_columns or spelled(columns, [ACTION_COLUMN]) is None:
        raise UsageError(
            f"{OPTION} {path}: needs the columns image (an image id, or a path) and {ACTION_COLUMN}; "
            f"it has {in_line(columns, 100)}"
        )
    corrections: dict[str, Correction] = {}
    for row in table_rows(path):
        name = _name(next(filter(None, ((row.get(column) or "").strip() for column in name_columns)), ""))
        if not name:
            raise UsageError(f"{OPTION} {path}: a row with the action {cells_of(row)(ACTION_COLUMN)!r} names no image")
        try:
            correction = _correction(name, row, class_set)
        except ValueError as error:
            raise UsageError(f"{OPTION} {path}: {error}") from error
        earlier = corrections.setdefault(name, correction)
        if earlier[:2] != correction[:2]:
            raise UsageError(f"{OPTION} {path}: {name} is named twice, to {earlier.said()} and to {correction.said()}")
    return corrections


def require_corrections(path: str, class_set: ClassSet) -> CorrectionsFile:
    """Return what a table of corrections holds, in short.

    Raises:
        UsageError: See `read_corrections`.
    """
    corrections = read_corrections(path, class_set)
    counts = Counter(correction.action for correction in corrections.values())
    said = sorted((name, correction.action, correction.label) for name, correction in corrections.items())
    digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()
    return CorrectionsFile(path, digest, tuple((action, counts[action]) for action in ACTIONS if counts[action]))


def corrected(row: ImageRow, corrections: Mapping[str, Correction]) -> ImageRow:
    """Return a checked row with the correction of its image, if there is one."""
    found = tuple(name for name in names_of(row) if name in corrections)
    if not found:
        return row
    correction = corrections[found[0]]
    return row._replace(corrected_by=found, correction=correction.action, label=correction.label)


def is_taken(row: ImageRow) -> bool:
    """Return whether a person has looked at this very file, called by its path or name, and takes it for the image.

    Then it is a photograph whatever it looks like, and the one that its id stands for. A correction by id does not say
    so: masks and other pictures have the id too.
    """
    return row.correction in (KEEP, RELABEL) and row.corrected_by[0] != _name(row.image_id)


class NamedFile(NamedTuple):
    """A listed file that corrections name."""

    names: tuple[str, ...]  # as the table has them, the most precise first
    image: str  # the path of the file that stands for the image
    path: str
    unusable: str  # why it has no class, or is no image of its id; empty if neither
    has_no_class: bool = False  # a relabel mends that, but not what a file is


def named_file(row: ImageRow) -> NamedFile:
    """Return what is to be known of a judged row that corrections name."""
    unusable = row.message if row.stage in ("label", "identify") else ""
    return NamedFile(
        row.corrected_by, printable(row.image_of or row.path), printable(row.path), unusable, row.stage == "label"
    )


def _ambiguous(name: str, images: Iterable[str]) -> Iterator[str]:
    # All files with an ISIC id are meant, even if they do not look alike.
    if len(found := sorted(set(images))) > 1 and isic_id_of(name) != name:
        yield f"{name} names {len(found)} images, {found[0]} and {found[1]}; name each by its path"


def _contradictions(names: Iterable[str], corrections: Mapping[str, Correction]) -> Iterator[str]:
    first, *others = sorted(set(names))
    for other in others:
        one, another = corrections[first], corrections[other]
        if one[:2] != another[:2]:
            yield f"{first} and {other} are one image, to {one.said()} and to {another.said()}; leave one out"


def problems_with(corrections: Mapping[str, Correction], files: Iterable[NamedFile]) -> list[str]:
    """Return a line for each correction that cannot be made.

    Args:
        corrections: The correction of each name.
        files: Every listed file that one of them names.
    """
    images_of: dict[str, list[str]] = defaultdict(list)
    names_of_image: dict[str, list[str]] = defaultdict(list)
    unusable: dict[str, list[str]] = defaultdict(list)
    relabelable: set[str] = set()
    found: set[str] = set()
    for file in files:
        for name in file.names:
            images_of[name].append(file.image)
        names_of_image[file.image].append(file.names[0])
        unusable[file.names[0]].append(file.unusable)
        if file.has_no_class:
            relabelable.add(file.names[0])
    unknown = sorted(corrections.keys() - images_of.keys())
    if unknown:
        more = f" and {len(unknown) - 1} more" if unknown[1:] else ""
        found.add(f"no listed image is {unknown[0]}{more}; ids and paths are those of manifest-*.parquet")
    for name, reasons in unusable.items():
        # An id may also be that of a mask beside its photograph.
        if all(reasons) and (action := corrections[name].action) != DROP:
            way_out = "relabel or drop it" if name in relabelable else "name one file alone, by its path"
            found.add(f"{name}: nothing to {action} ({min(reasons)}); {way_out}, or leave it out")
    found.update(line for name, images in images_of.items() for line in _ambiguous(name, images))
    found.update(line for names in names_of_image.values() for line in _contradictions(names, corrections))
    return sorted(found)
