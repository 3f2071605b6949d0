"""Read the classes of images from the table that `--labels` names."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.common.cli import UsageError
from pipelines.common.csv_tables import in_line
from pipelines.common.html import grouped
from pipelines.common.tables import column_key
from pipelines.domain.diagnoses import CLASS_SETS
from pipelines.domain.labels import Claim, resolve_label, table_claims
from pipelines.domain.metadata_columns import (
    DIAGNOSIS_COLUMNS,
    Columns,
    Facts,
    facts_of,
    one_hot_columns,
    spelled,
)
from pipelines.domain.missing_values import flag_of
from pipelines.domain.probability_table import class_names
from pipelines.domain.taxonomy import ClassSet, built_in_set, named_set
from trainer.evaluate.metadata_tables import IDS, ImageFacts, ImageName, ImageTable, open_table
from trainer.evaluate.predictions import GroundTruth

# What people call the class. Our own predictions.parquet has `class`.
_OWN_LABELS = ("class", "label")
# Maximum number of labels without a class that are listed one by one.
_NAMED = 5


@dataclass(frozen=True)
class LabelTable:
    """Labels read from a table, and counts of the images that it gives no label."""

    truth: GroundTruth  # the images with a label, which may be vague
    unmapped: dict[str, int]  # label -> number of images none of whose labels maps to a class
    conflicts: int  # number of images on which rows of the table disagree


def class_set_of(classes: Sequence[str]) -> ClassSet:
    """Return the known class set with exactly these classes, or else a set built from their names."""
    known = next((name for name, members in CLASS_SETS.items() if members == tuple(classes)), None)
    return built_in_set(known) if known else named_set(classes)


def _own_one_hot(names: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    """Return the columns that are named as the model's classes, with their classes.

    There are none if only one is, or if the table says diagnoses in words: then such columns are something else.
    """

    def plain(text: str) -> str:
        return class_names([text])[0].lower()

    named = {plain(name): name for name in classes}
    found = {column: named[plain(column)] for column in names if plain(column) in named}
    clear = len(set(found.values())) == len(found) > 1 and spelled(names, DIAGNOSIS_COLUMNS) is None
    return found if clear else {}


class _Said:
    """What the rows of a table say of one image."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        self.lesion_id = ""
        self.row: Mapping[str, str] = {}

    def add(self, facts: Facts, row: Mapping[str, str], class_set: ClassSet) -> None:
        self.claims += table_claims(facts.source, facts.labels, facts.hot, class_set)
        self.lesion_id = self.lesion_id or facts.lesion_id
        self.row = row

    def label(self) -> str:
        """Return the label as it is written: in words, or else the only column that holds 1; "" if there is none."""
        words = next((claim.labels[0] for claim in self.claims if claim.labels), "")
        hot = [name for name, cell in self.row.items() if column_key(name) not in IDS and flag_of(cell or "")]
        return words or (hot[0] if len(hot) == 1 else "")


def _images_by_lesion(facts: Mapping[str, ImageFacts]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, known in facts.items():
        if known.lesion_id:
            found.setdefault(known.lesion_id, []).append(name)
    return found


def _read_said(
    table: ImageTable, source: str, classes: Sequence[str], facts: Mapping[str, ImageFacts]
) -> dict[ImageName, _Said]:
    """Return what a table says of each image; see `read_labels`.

    Raises:
        UsageError: It cannot be said which columns are one-hot, or which images the rows are of.
    """
    own = (spelled(table.names, _OWN_LABELS) or "") if table.names_images() else ""
    columns, one_hot = Columns(label=own), one_hot_columns(table.names)
    terms = {**one_hot.terms, **_own_one_hot(table.names, classes)}
    if not own and not terms and one_hot.ambiguous:
        raise UsageError(
            f"{table.where}: {one_hot.ambiguous}; leave out what is not meant; it has {in_line(table.names, 200)}"
        )
    images = _images_by_lesion(facts)
    if table.by_lesion and not own and not images:
        raise UsageError(
            f"{table.where}: says what lesions are; add --metadata CSV with their images, in the columns isic_id and "
            "lesion_id"
        )
    class_set = class_set_of(classes)
    said: dict[ImageName, _Said] = {}
    for image, (row, form_one_hot) in table.rows(columns, images):
        found = facts_of(row, source, columns, terms if form_one_hot is None else form_one_hot)
        said.setdefault(image, _Said()).add(found, row, class_set)
    return said


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
    table = open_table("--labels", path)
    found = _read_said(table, path.name, classes, facts)
    labels: dict[ImageName, tuple[int, ...]] = {}
    unmapped: Counter[str] = Counter()
    conflicts = 0
    for image, said in found.items():
        decision = resolve_label(said.claims)
        if decision.label:
            labels[image] = tuple(list(classes).index(name) for name in decision.classes)
        elif decision.reason == "label_conflict":
            conflicts += 1
        else:
            unmapped[said.label()] += 1
    if not labels:
        said_of = f" (it says {labels_counted(unmapped)})" if unmapped else ""
        raise UsageError(
            f"{table.where}: no image has one of the classes {', '.join(classes)}; its columns are "
            f"{in_line(table.names, 200)}{said_of}"
        )
    images = list(labels)
    lesion_ids = [found[image].lesion_id or facts.get(image.id, ImageFacts()).lesion_id for image in images]
    vague = tuple(dict.fromkeys(several for several in labels.values() if len(several) > 1))
    truth = GroundTruth(
        source_id=[image.id for image in images],
        sha256=[""] * len(images),
        lesion_id=lesion_ids,
        group_id=[lesion or image.path or image.id for lesion, image in zip(lesion_ids, images, strict=True)],
        labels=np.array(
            [one[0] if len(one) == 1 else len(classes) + vague.index(one) for one in labels.values()], np.int64
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
