"""Tables that the user names: whose lesion an image shows, what it is, and of whom it was taken."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.cli import UsageError
from pipelines.csv_tables import TableError, header_of, in_line, rows_of
from pipelines.image_names import image_id_of
from pipelines.labels import Claim, decide, make_claim
from pipelines.table_columns import ID_COLUMNS, NO_ID, Columns, facts_of, labels_of
from pipelines.taxonomy import CLASS_SETS, ClassSet, known_set, named_set
from trainer.predictions import Truth
from trainer.scores import Scores

# Besides those of ISIC's tables; `source_id` and `class` are what our own predictions.parquet has.
_OTHER_IDS = ("id", "source_id")
_OTHER_LABELS = ("class", "label")
# The archive, ISIC 2019 and 2020, HAM10000. A place is taken as written: the tables divide the body differently.
AGE_COLUMNS = ("age_approx", "age")
SEX_COLUMNS = ("sex",)
SITE_COLUMNS = ("anatom_site_general", "anatom_site_1", "anatom_site_general_challenge", "localization")


class ImageFacts(NamedTuple):
    """What tables say of the person and the place. age in years; "" and None: not known."""

    age: float | None = None
    sex: str = ""
    site: str = ""
    lesion_id: str = ""


@dataclass(frozen=True)
class LabelTable:
    """truth: the labelled images. unmapped: label -> images of which none of the labels stands for a class; conflicts:
    images on which the table's rows disagree. Neither are among those of `truth`."""

    truth: Truth
    unmapped: dict[str, int]
    conflicts: int


class _Table(NamedTuple):
    where: str
    names: list[str]
    id_column: str
    data: bytes

    def rows(self) -> Iterator[tuple[str, dict[str, str]]]:
        """(image id, row) of every row that names an image."""
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
    id_column = next((name for name in wanted if name in names), None)
    if id_column is None:
        raise UsageError(f"{where}: needs a column {' or '.join(wanted)}; it has {in_line(names, 200)}")
    return _Table(where, names, id_column, data)


def _one_of(row: Mapping[str, str], columns: Iterable[str]) -> str:
    """The first value that says something, in lower case."""
    values = ((row.get(name) or "").strip().lower() for name in columns)
    return next((value for value in values if value not in NO_ID and value), "")


def _age(text: str) -> float | None:
    try:
        age = float(text)
    except ValueError:
        return None
    return age if age >= 0 and math.isfinite(age) else None


def says_of_people(path: Path, option: str) -> bool:
    """Whether a table has a column of age, sex or place on the body. UsageError for a file that is no table."""
    return not {*AGE_COLUMNS, *SEX_COLUMNS, *SITE_COLUMNS}.isdisjoint(_open(option, path).names)


def read_image_facts(paths: Sequence[Path], option: str = "--metadata") -> dict[str, ImageFacts]:
    """What the tables say, by image id; where several speak of one image, the first that says something counts.

    Raises UsageError for a file that is no table, and one without a column of age, sex or place.
    """
    facts: dict[str, ImageFacts] = {}
    for path in paths:
        table = _open(option, path)
        if {*AGE_COLUMNS, *SEX_COLUMNS, *SITE_COLUMNS}.isdisjoint(table.names):
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
    """The terms that stand for these classes: those of the known set that they are, else of their names."""
    known = next((name for name, members in CLASS_SETS.items() if members == tuple(classes)), None)
    return known_set(known) if known else named_set(classes)


def read_labels(path: Path, classes: Sequence[str], facts: Mapping[str, ImageFacts]) -> LabelTable:
    """The classes that `--labels` gives, by the project's table of diagnoses, in the order of its rows.

    A column `class` or `label`, one of the archive's or HAM10000's diagnoses, or one column per class with 1 in the
    right one. Lesion ids come from the table, else from `facts`; an image without one is a lesion of its own. Raises
    UsageError for a file that is no such table, or in which no image has a class.
    """
    table = _open("--labels", path)
    own = next((name for name in _OTHER_LABELS if name in table.names), "")
    columns = Columns(label=own)
    class_set = class_set_of(classes)
    claims: dict[str, list[Claim]] = {}
    lesions: dict[str, str] = {}
    for image, row in table.rows():
        claims.setdefault(image, []).append(make_claim(path.name, labels_of(row, columns), class_set))
        lesions[image] = lesions.get(image) or facts_of(row, "", columns).lesion_id
    labels: dict[str, int] = {}
    unmapped: Counter[str] = Counter()
    conflicts = 0
    for image, said in claims.items():
        decision = decide(said)
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
    truth = Truth(
        source_id=ids,
        sha256=[""] * len(ids),
        lesion_id=lesion_ids,
        group_id=[lesion or image for lesion, image in zip(lesion_ids, ids, strict=True)],
        labels=np.array(list(labels.values()), np.int64),
    )
    return LabelTable(truth, dict(unmapped.most_common()), conflicts)


def own_labels(scores: Scores) -> Truth:
    """The labels that a table of predictions has itself.

    UsageError for a class that it has no probability of, and for an image that is there twice.
    """
    assert scores.labels is not None
    images = Counter(zip(scores.image_id, scores.sha256, strict=True))
    if twice := [name for (name, _), count in images.items() if count > 1]:
        raise UsageError(
            f"--predictions {scores.path}: has {twice[0]} twice ({len(twice)} such images); name one evaluation"
        )
    if strangers := sorted({name for name in scores.labels if name not in scores.classes}):
        raise UsageError(f"--predictions {scores.path}: has the class {strangers[0]!r}, but no probability of it")
    return Truth(
        source_id=scores.image_id,
        sha256=scores.sha256,
        lesion_id=scores.lesion_id,
        group_id=[group or image for group, image in zip(scores.group_id, scores.image_id, strict=True)],
        labels=np.array([scores.classes.index(name) for name in scores.labels], np.int64),
    )
