"""Read predictions that were stored before."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.common.cli import UsageError, first_line
from pipelines.common.csv_tables import in_line
from pipelines.domain.decision_rule import EIGHT_VIEWS, ONE_VIEW
from pipelines.domain.probability_table import Meaning, class_names, read_metadata
from trainer.evaluate.judged_classes import labels_named, parts_of
from trainer.evaluate.predictions import GroundTruth
from trainer.evaluate.scoring_models import model_places

if TYPE_CHECKING:
    import pyarrow as pa

PREFIX = "probability_"
# With several models, the columns of each one's own probabilities have this suffix: `probability_nevus__2`.
_OF_ONE_MODEL = re.compile(r"__\d+\Z")
# Between the fingerprints of several models.
_BETWEEN = re.compile(r"[;\s]+")
_OWN = "predictions.parquet"
_FILES = ("scores-*.parquet", _OWN)
# The score job writes it last, next to its Parquet files.
_MARKER = "_summary.json"
_IDS = ("source_id", "image_id")
# How far the sum of probabilities may be from 1. Tables rounded to a few decimals stay within it.
_TOLERANCE = 0.01


@dataclass(frozen=True)
class StoredPredictions:
    """Ids and probabilities of n images, as far as the tables tell, in the order in which they were scored."""

    path: Path
    image_id: list[str]
    sha256: list[str]
    lesion_id: list[str]  # "" where unknown
    group_id: list[str]  # "" where unknown
    classes: tuple[str, ...]  # names in the order of the probabilities
    probabilities: np.ndarray  # float32 [n, C]
    labels: list[str] | None  # class names, if the table has labels, as an evaluation's does
    models: tuple[str, ...]  # the fingerprint of what made the probabilities; empty if unknown
    prior: np.ndarray  # float64 [C], the class frequencies that the probabilities assume
    views: str | None  # see `Predictions`
    files: Sequence[str] = ()  # paths of the images as they were listed, "" where unknown; may be empty
    made_at: Mapping[str, str] = field(default_factory=dict)  # see `model_places`

    @property
    def makers(self) -> list[str]:
        """The fingerprint of each model that made the probabilities; empty if unknown."""
        return [name for made in self.models for name in _BETWEEN.split(made)]


def prediction_files(path: Path) -> list[Path]:
    """List the Parquet files that `--predictions` names, sorted by path.

    A run of the score job without its _summary.json is not finished and is left out.

    Args:
        path: A file, or a folder that holds files at any depth.

    Raises:
        UsageError: The path does not exist, or the folder holds no such file.
    """
    where = f"--predictions {path}"
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UsageError(f"{where}: no such file or folder")
    found = sorted(
        file
        for pattern in _FILES
        for file in path.rglob(pattern)
        if not any(part.startswith(".") for part in file.relative_to(path).parts)
        and (file.name == _OWN or (file.parent / _MARKER).is_file())
    )
    if not found:
        raise UsageError(
            f"{where}: holds neither {' of a finished run nor '.join(_FILES)}; name an output of pipelines.score "
            "(--format parquet) or of trainer.evaluate"
        )
    return found


def read_stored_predictions(path: Path, known_classes: Sequence[str] | None = None) -> StoredPredictions:
    """Read all rows of the files that `--predictions` names: those that were scored later, and lie further on, last.

    Args:
        path: See `prediction_files`.
        known_classes: The class names of a dataset or a model. If None, names come from the tables' own values, or else
            from the names of the columns, with spaces for underscores.

    Raises:
        UsageError: A file is not such a table or holds values that are not probabilities, or the files differ in their
            classes, models or views.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = f"--predictions {path}"
    tables: list[pa.Table] = []
    columns: list[str] = []
    meanings: list[Meaning] = []
    files = prediction_files(path)
    for file in files:
        try:
            table = pq.read_table(file, partitioning=None)
        except (OSError, pa.ArrowException) as error:
            reason = first_line(error)
            raise UsageError(f"{where}: {file.name} is no Parquet file that can be read ({reason})") from None
        found = [name for name in table.column_names if name.startswith(PREFIX) and not _OF_ONE_MODEL.search(name)]
        identity = next((name for name in _IDS if name in table.column_names), None)
        if identity is None or len(found) < 2:
            raise UsageError(
                f"{where}: {file.name} needs a column {' or '.join(_IDS)} and two or more {PREFIX}CLASS; it has "
                f"{in_line(table.column_names, 200)}"
            )
        if tables and found != columns:
            raise UsageError(f"{where}: {file.name} has other classes than the files before it; name one of them")
        try:
            meanings.append(read_metadata(table.schema.metadata, len(found)))
        except ValueError as error:
            raise UsageError(f"{where}: {file.name} is damaged ({error}); score these images again") from None
        columns = found
        table = table.drop_columns([name for name in _IDS if name != identity and name in table.column_names])
        tables.append(table.rename_columns([_IDS[1] if name == identity else name for name in table.column_names]))
    named = {
        part
        for table in tables
        for column in ("class", "top_class")
        if column in table.column_names
        for name in table[column].unique().to_pylist()
        if name
        for part in (name, *parts_of(name))
    }
    classes = _class_list([name.removeprefix(PREFIX) for name in columns], known_classes, named, where)

    order = np.argsort(np.concatenate([_scored_at(table) for table in tables]), kind="stable")

    def texts(column: str) -> list[str]:
        found = [
            "" if value is None else str(value)
            for table in tables
            for value in (table[column].to_pylist() if column in table.column_names else [""] * table.num_rows)
        ]
        return [found[row] for row in order]

    models = tuple(sorted({name for name in set(texts("model_fingerprint")) if name}))
    if len(models) > 1:
        raise UsageError(f"{where}: holds scores of {len(models)} models; name the folder of one run")
    views = {meaning.views for meaning in meanings}
    if views >= {ONE_VIEW, EIGHT_VIEWS}:
        raise UsageError(f"{where}: its scores are partly of one view, partly of eight; name the folder of one run")
    try:
        each = [
            np.stack([table[name].cast(pa.float32()).to_numpy(zero_copy_only=False) for name in columns], axis=1)
            for table in tables
        ]
    except pa.ArrowException as error:
        reason = first_line(error)
        raise UsageError(f"{where}: a probability is no number ({reason}); score these images again") from None
    probabilities = np.concatenate(each).astype(np.float32)[order]
    if not np.isfinite(probabilities).all():
        raise UsageError(f"{where}: a probability is missing or not finite; score these images again")
    if not len(probabilities):
        raise UsageError(f"{where}: holds no image; name the folder of a run that scored some")
    wrong = (probabilities < -_TOLERANCE).any(axis=1) | (abs(probabilities.sum(axis=1) - 1) > _TOLERANCE)
    if wrong.any():
        raise UsageError(
            f"{where}: the numbers of {int(wrong.sum())} images are no probabilities (each from 0 to 1, together 1); "
            "give softmax outputs, not logits or percentages"
        )
    labels = texts("class") if all("class" in table.column_names for table in tables) else None
    return StoredPredictions(
        path,
        texts(_IDS[1]),
        texts("sha256"),
        texts("lesion_id"),
        texts("group_id"),
        classes,
        probabilities,
        labels,
        models,
        meanings[0].prior,
        views.pop() if len(views) == 1 else None,
        texts("path"),
        model_places(files),
    )


def _scored_at(table: pa.Table) -> np.ndarray:
    """Return when each row of a table was scored, int64 [n], in microseconds; 0 where that is not known."""
    import pyarrow as pa

    if "scored_at" not in table.column_names:
        return np.zeros(table.num_rows, np.int64)
    try:
        times = table["scored_at"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    except pa.ArrowException:
        return np.zeros(table.num_rows, np.int64)
    return times.fill_null(0).to_numpy()


def _class_list(columns: list[str], known: Sequence[str] | None, named: set[str], where: str) -> tuple[str, ...]:
    """Return the names of the classes that the probability columns belong to.

    Args:
        columns: The names of the columns, without prefix.
        known: Class names that the columns must match; None if they are not known.
        named: Class names that occur in the tables, used if `known` is None.
        where: The start of the error message.

    Raises:
        UsageError: The columns are not those of the known classes.
    """
    if known is not None:
        if class_names(known) != columns:
            differing = sorted(set(class_names(known)) ^ set(columns)) or ["the same ones in another order"]
            raise UsageError(
                f"{where}: its {len(columns)} classes are not the {len(known)} that are asked about "
                f"(difference: {', '.join(differing)})"
            )
        return tuple(known)
    by_column = {class_names([name])[0]: name for name in sorted(named)}
    return tuple(by_column.get(column, column.replace("_", " ")) for column in columns)


def own_labels(stored: StoredPredictions) -> GroundTruth:
    """Return the labels that a table of predictions contains itself; those of classes judged as one are vague.

    Raises:
        UsageError: A label has no probability column, or an image occurs twice.
    """
    assert stored.labels is not None
    images = Counter(zip(stored.image_id, stored.sha256, strict=True))
    if twice := [name for (name, _), count in images.items() if count > 1]:
        raise UsageError(
            f"--predictions {stored.path}: has {twice[0]} twice ({len(twice)} such images); name one evaluation"
        )
    classes = stored.classes
    vague = {name: labels_named(name, classes) for name in sorted(set(stored.labels)) if name not in classes}
    if strangers := [name for name, labels in vague.items() if not labels]:
        raise UsageError(f"--predictions {stored.path}: has the class {strangers[0]!r}, but no probability of it")
    label_of = {name: label for label, name in enumerate((*classes, *vague))}
    return GroundTruth(
        source_id=stored.image_id,
        sha256=stored.sha256,
        lesion_id=stored.lesion_id,
        group_id=[group or image for group, image in zip(stored.group_id, stored.image_id, strict=True)],
        labels=np.array([label_of[name] for name in stored.labels], np.int64),
        vague=tuple(vague.values()),
    )
