"""Read tables that the user names: class, lesion id, age, sex and body site by image."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.common.cli import UsageError
from pipelines.common.csv_tables import TableError, in_line
from pipelines.common.tables import header_of, rows_of
from pipelines.domain.diagnoses import CLASS_SETS
from pipelines.domain.image_ids import image_id_of
from pipelines.domain.labels import Claim, resolve_label, table_claims
from pipelines.domain.metadata_columns import ID_COLUMNS, Columns, cells_of, facts_of, one_hot_columns, spelled
from pipelines.domain.missing_values import is_missing
from pipelines.domain.taxonomy import ClassSet, built_in_set, named_set
from trainer.evaluate.predictions import GroundTruth

# In addition to the columns of ISIC's tables. Our own predictions.parquet has `source_id` and `class`.
_OTHER_IDS = ("id", "source_id")
_OTHER_LABELS = ("class", "label")
# Columns of the archive, ISIC 2019 and 2020, and HAM10000. Sites stay as written: the tables divide the body
# differently.
AGE_COLUMNS = ("age_approx", "age")
SEX_COLUMNS = ("sex",)
SITE_COLUMNS = ("anatom_site_general", "anatom_site_1", "anatom_site_general_challenge", "localization")


class ImageFacts(NamedTuple):
    """Facts about the lesion and the person an image shows; "" and None mean unknown."""

    age: float | None = None  # in years
    sex: str = ""
    site: str = ""
    lesion_id: str = ""


@dataclass(frozen=True)
class LabelTable:
    """Labels read from a table, and counts of the images that it gives no label."""

    truth: GroundTruth  # the images with a label
    unmapped: dict[str, int]  # label -> number of images none of whose labels maps to a class
    conflicts: int  # number of images on which rows of the table disagree


class _Table(NamedTuple):
    where: str
    names: list[str]
    id_column: str
    data: bytes

    def rows(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield (image id, row) for each row that names an image."""
        for row in rows_of(self.data):
            if image := (row.get(self.id_column) or "").strip():
                yield image_id_of(image), row


def _open(option: str, path: Path) -> _Table:
    where = f"{option} {path}"
    try:
        data = path.read_bytes()
        names = header_of(data)
    except OSError as error:
        raise UsageError(f"{where}: cannot be read ({error.strerror or error})") from None
    except TableError as error:
        raise UsageError(f"{where}: {error}") from None
    wanted = (*ID_COLUMNS, *_OTHER_IDS)
    id_column = spelled(names, wanted)
    if id_column is None:
        raise UsageError(f"{where}: needs a column {' or '.join(wanted)}; it has {in_line(names, 200)}")
    return _Table(where, names, id_column, data)


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
        for image, row in table.rows():
            said = ImageFacts(
                _age(_one_of(row, AGE_COLUMNS)),
                _one_of(row, SEX_COLUMNS),
                _one_of(row, SITE_COLUMNS),
                facts_of(row, "", Columns()).lesion_id,
            )
            known = facts.get(image, ImageFacts())
            facts[image] = ImageFacts(
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


def read_labels(path: Path, classes: Sequence[str], facts: Mapping[str, ImageFacts]) -> LabelTable:
    """Read the classes that `--labels` gives, in the order of its rows.

    The table has a column `class` or `label`, a column of diagnoses as in the archive or HAM10000, or one column per
    class with 1 in the right one. The project's table of diagnoses maps its terms to classes.

    Args:
        path: The table.
        classes: Class names in label order.
        facts: By image id; source of lesion ids that the table lacks. An image without a lesion id is a lesion of its
            own.

    Raises:
        UsageError: The file is not such a table, or none of its images has a class.
    """
    table = _open("--labels", path)
    own = spelled(table.names, _OTHER_LABELS) or ""
    columns = Columns(label=own)
    if not own and (wrong := one_hot_columns(table.names).ambiguous):
        raise UsageError(f"{table.where}: {wrong}; leave out what is not meant; it has {in_line(table.names, 200)}")
    class_set = class_set_of(classes)
    claims: dict[str, list[Claim]] = {}
    lesions: dict[str, str] = {}
    for image, row in table.rows():
        found = facts_of(row, path.name, columns)
        claims.setdefault(image, []).extend(table_claims(path.name, found.labels, found.hot, class_set))
        lesions[image] = lesions.get(image) or found.lesion_id
    labels: dict[str, int] = {}
    unmapped: Counter[str] = Counter()
    conflicts = 0
    for image, said in claims.items():
        decision = resolve_label(said)
        if decision.label:
            labels[image] = list(classes).index(decision.label)
        elif decision.reason == "label_conflict":
            conflicts += 1
        else:
            unmapped[next((claim.labels[0] for claim in said if claim.labels), "")] += 1
    if not labels:
        raise UsageError(
            f"{table.where}: no image has one of the classes {', '.join(classes)}; its columns are "
            f"{in_line(table.names, 200)}"
        )
    ids = list(labels)
    lesion_ids = [lesions[image] or facts.get(image, ImageFacts()).lesion_id for image in ids]
    truth = GroundTruth(
        source_id=ids,
        sha256=[""] * len(ids),
        lesion_id=lesion_ids,
        group_id=[lesion or image for lesion, image in zip(lesion_ids, ids, strict=True)],
        labels=np.array(list(labels.values()), np.int64),
    )
    return LabelTable(truth, dict(unmapped.most_common()), conflicts)
