"""Read tables that the user names: class, lesion id, age, sex and body site by image."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.common.cli import UsageError
from pipelines.common.csv_tables import TableError, in_line
from pipelines.common.html import grouped
from pipelines.common.tables import column_key, header_of, rows_of
from pipelines.domain.diagnoses import CLASS_SETS
from pipelines.domain.image_ids import image_id_of
from pipelines.domain.known_rows import KnownRow, known_rows
from pipelines.domain.labels import Claim, resolve_label, table_claims
from pipelines.domain.layout_registry import as_csv, known_form
from pipelines.domain.metadata_columns import ID_COLUMNS, Columns, cells_of, facts_of, one_hot_columns, spelled
from pipelines.domain.missing_values import flag_of, is_missing
from pipelines.domain.probability_table import class_names
from pipelines.domain.taxonomy import ClassSet, built_in_set, named_set
from trainer.evaluate.predictions import GroundTruth

# In addition to the columns of ISIC's tables. Our own predictions.parquet has `source_id` and `class`.
_IDS = (*ID_COLUMNS, "id", "source_id")
_PATHS = ("path", "filepath", "file_path", "image_path")
_OTHER_LABELS = ("class", "label")
# Columns of the archive, ISIC 2019 and 2020, and HAM10000. Sites stay as written: the tables divide the body
# differently.
AGE_COLUMNS = ("age_approx", "age")
SEX_COLUMNS = ("sex",)
SITE_COLUMNS = ("anatom_site_general", "anatom_site_1", "anatom_site_general_challenge", "localization")

# Maximum number of labels without a class that are listed one by one.
_NAMED = 5


class ImageFacts(NamedTuple):
    """Facts about the lesion and the person an image shows; "" and None mean unknown."""

    age: float | None = None  # in years
    sex: str = ""
    site: str = ""
    lesion_id: str = ""


@dataclass(frozen=True)
class LabelTable:
    """Labels read from a table, and counts of the images that it gives no label."""

    truth: GroundTruth  # the images with a label, which may be vague
    unmapped: dict[str, int]  # label -> number of images none of whose labels maps to a class
    conflicts: int  # number of images on which rows of the table disagree


class _Image(NamedTuple):
    """What a row says of the image that it names."""

    id: str
    path: str  # "" if the row has no more than an id, or the name of a file


class _Table(NamedTuple):
    where: str
    names: list[str]
    by_lesion: bool  # whether its rows are of lesions, and another table says which images show them
    data: bytes

    def names_images(self) -> bool:
        """Return whether a column says which images the rows are of, without knowing the layout of the table."""
        return spelled(self.names, (*_IDS, *_PATHS)) is not None

    def rows(self, columns: Columns, lesions: Mapping[str, Sequence[str]]) -> Iterator[tuple[_Image, KnownRow]]:
        """Yield the image and the row, for each row that names an image.

        Args:
            columns: The label column, if it is none that is known.
            lesions: The image ids of each lesion, for tables by lesion.
        """
        for row in known_rows(rows_of(self.data), columns, lambda: lesions):
            cell = cells_of(row.cells)
            said = [value.replace("\\", "/") for value in map(cell, (*_IDS, *_PATHS)) if value]
            if said:
                yield _Image(image_id_of(said[0]), next((value for value in said if "/" in value), "")), row


def _open(option: str, path: Path) -> _Table:
    where = f"{option} {path}"
    try:
        data = as_csv(path.read_bytes())
        names = header_of(data)
    except OSError as error:
        raise UsageError(f"{where}: cannot be read ({error.strerror or error})") from None
    except TableError as error:
        raise UsageError(f"{where}: {error}") from None
    form = known_form(names)
    table = _Table(where, names, form.by_lesion if form else False, data)
    if not table.names_images() and not (form and (form.rows or form.by_lesion)):
        raise UsageError(f"{where}: needs a column {' or '.join((*_IDS, _PATHS[0]))}; it has {in_line(names, 200)}")
    return table


def _one_of(row: Mapping[str, str], columns: Iterable[str]) -> str:
    """Return the first value that is not a placeholder, in lower case; "" if there is none."""
    values = map(cells_of(row), columns)
    return next((value.lower() for value in values if not is_missing(value)), "")


def _age(text: str) -> float | None:
    try:
        age = float(text)
    except ValueError:
        return None
    return age if age >= 0 and math.isfinite(age) else None


def _has_subgroups(names: Sequence[str]) -> bool:
    return spelled(names, (*AGE_COLUMNS, *SEX_COLUMNS, *SITE_COLUMNS)) is not None


def has_subgroup_columns(path: Path, option: str) -> bool:
    """Return whether a table has a column of age, sex or body site, by which subgroups are made.

    Raises:
        UsageError: The file cannot be read as a table with image ids.
    """
    return _has_subgroups(_open(option, path).names)


def read_image_facts(paths: Sequence[Path], option: str = "--metadata") -> dict[str, ImageFacts]:
    """Read age, sex, body site and lesion id of each image.

    Args:
        paths: The tables. If several rows or tables know a fact about an image, the first one counts.
        option: The option that error messages name.

    Returns:
        The facts by image id.

    Raises:
        UsageError: A file cannot be read as a table with image ids, or has no column of age, sex or body site.
    """
    facts: dict[str, ImageFacts] = {}
    for path in paths:
        table = _open(option, path)
        if not _has_subgroups(table.names):
            wanted = ", ".join((*AGE_COLUMNS, *SEX_COLUMNS, *SITE_COLUMNS))
            raise UsageError(f"{table.where}: needs one of {wanted}; it has {in_line(table.names, 200)}")
        for image, (row, _) in table.rows(Columns(), {}):
            said = ImageFacts(
                _age(_one_of(row, AGE_COLUMNS)),
                _one_of(row, SEX_COLUMNS),
                _one_of(row, SITE_COLUMNS),
                facts_of(row, "", Columns()).lesion_id,
            )
            known = facts.get(image.id, ImageFacts())
            facts[image.id] = ImageFacts(
                said.age if known.age is None else known.age,
                known.sex or said.sex,
                known.site or said.site,
                known.lesion_id or said.lesion_id,
            )
    return facts


def class_set_of(classes: Sequence[str]) -> ClassSet:
    """Return the known class set with exactly these classes, or else a set built from their names."""
    known = next((name for name, members in CLASS_SETS.items() if members == tuple(classes)), None)
    return built_in_set(known) if known else named_set(classes)


def _own_one_hot(names: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    """Return the columns that are named as the model's classes, with their classes; none if it is only one."""

    def plain(text: str) -> str:
        return class_names([text])[0].lower()

    named = {plain(name): name for name in classes}
    found = {column: named[plain(column)] for column in names if plain(column) in named}
    return found if len(set(found.values())) == len(found) > 1 else {}


def _label_said(row: Mapping[str, str], said: Sequence[Claim]) -> str:
    """Return the label of an image without a class: in words, or else the only other column that holds 1."""
    words = next((claim.labels[0] for claim in said if claim.labels), "")
    hot = [name for name, cell in row.items() if column_key(name) not in _IDS and flag_of(cell or "")]
    return words or (hot[0] if len(hot) == 1 else "")


def read_labels(path: Path, classes: Sequence[str], facts: Mapping[str, ImageFacts]) -> LabelTable:
    """Read the classes that `--labels` gives, in the order of its rows.

    The table has a column `class` or `label`, a column of diagnoses as in the archive or HAM10000, or one column per
    class with 1 in the right one. The project's table of diagnoses maps its terms to classes. Rows of one image have
    the same path, or the same id if they have no path.

    Args:
        path: The table.
        classes: Class names in label order.
        facts: By image id; source of lesion ids that the table lacks. An image without a lesion id is a lesion of its
            own.

    Raises:
        UsageError: The file is not such a table, or none of its images has a class.
    """
    table = _open("--labels", path)
    own = (spelled(table.names, _OTHER_LABELS) or "") if table.names_images() else ""
    columns = Columns(label=own)
    one_hot = one_hot_columns(table.names)
    terms = {**one_hot.terms, **_own_one_hot(table.names, classes)}
    if not own and not terms and one_hot.ambiguous:
        raise UsageError(f"{table.where}: {one_hot.ambiguous}; leave out what is not meant; it has {in_line(table.names, 200)}")
    class_set = class_set_of(classes)
    claims: dict[_Image, list[Claim]] = {}
    lesions: dict[_Image, str] = {}
    last_row: dict[_Image, Mapping[str, str]] = {}
    images_of: dict[str, list[str]] = {}
    for name, known in facts.items():
        images_of.setdefault(known.lesion_id, []).append(name)
    if table.by_lesion and not own and not images_of.keys() - {""}:
        raise UsageError(
            f"{table.where}: says what lesions are; add --metadata CSV with their images, in the columns isic_id and "
            "lesion_id"
        )
    for image, (row, form_one_hot) in table.rows(columns, images_of):
        found = facts_of(row, path.name, columns, terms if form_one_hot is None else form_one_hot)
        claims.setdefault(image, []).extend(table_claims(path.name, found.labels, found.hot, class_set))
        lesions[image] = lesions.get(image) or found.lesion_id
        last_row[image] = row
    labels: dict[_Image, tuple[int, ...]] = {}
    unmapped: Counter[str] = Counter()
    conflicts = 0
    for image, said in claims.items():
        decision = resolve_label(said)
        if decision.label:
            labels[image] = tuple(list(classes).index(name) for name in decision.classes)
        elif decision.reason == "label_conflict":
            conflicts += 1
        else:
            unmapped[_label_said(last_row[image], said)] += 1
    if not labels:
        said_of = f" (it says {labels_counted(unmapped)})" if unmapped else ""
        raise UsageError(
            f"{table.where}: no image has one of the classes {', '.join(classes)}; its columns are "
            f"{in_line(table.names, 200)}{said_of}"
        )
    images = list(labels)
    lesion_ids = [lesions[image] or facts.get(image.id, ImageFacts()).lesion_id for image in images]
    vague = tuple(dict.fromkeys(said for said in labels.values() if len(said) > 1))
    truth = GroundTruth(
        source_id=[image.id for image in images],
        sha256=[""] * len(images),
        lesion_id=lesion_ids,
        group_id=[lesion or image.path or image.id for lesion, image in zip(lesion_ids, images, strict=True)],
        labels=np.array(
            [said[0] if len(said) == 1 else len(classes) + vague.index(said) for said in labels.values()], np.int64
        ),
        vague=vague,
        path=[image.path for image in images],
    )
    return LabelTable(truth, dict(unmapped.most_common()), conflicts)


def labels_counted(counts: Mapping[str, int]) -> str:
    """List the first labels with the number of images that each is of.

    Args:
        counts: Label -> number of images; the label may be empty.
    """
    first = itertools.islice(counts.items(), _NAMED)
    named = [f"{repr(label) if label else 'empty'} {grouped(count)}" for label, count in first]
    more = [f"{grouped(len(counts) - _NAMED)} more"] if len(counts) > _NAMED else []
    return ", ".join([*named, *more])
