"""Predictions of a model for the originals of a split, with their labels; also written as a table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.common import console
from pipelines.common.cli import UsageError
from pipelines.domain.decision_rule import EIGHT_VIEWS, ONE_VIEW
from pipelines.domain.model_info import ModelInfo
from pipelines.domain.probability_table import as_metadata, class_names
from trainer.data.dataset_info import DatasetInfo
from trainer.data.originals import map_originals, read_originals
from trainer.evaluate.judged_classes import judged_classes
from trainer.export.loaded_model import LoadedModel


@dataclass(frozen=True)
class GroundTruth:
    """Ids and labels of n images, in the order of their source; an id that the source lacks is ""."""

    source_id: list[str]
    sha256: list[str]
    lesion_id: list[str]
    group_id: list[str]  # images that share one count as one lesion
    # int64 [n]: a class, or where it is at least C, an index C higher into `vague`.
    labels: np.ndarray
    # The classes that a label leaves open, for labels that leave several.
    vague: tuple[tuple[int, ...], ...] = ()
    path: Sequence[str] = ()  # of each image, "" where unknown; empty if no path is known


@dataclass(frozen=True)
class Predictions:
    """Probabilities that a model gives n images, with their labels."""

    truth: GroundTruth
    probabilities: np.ndarray  # float32 [n, C]
    seconds: float | None  # duration of inference; None if it did not run here
    prior: np.ndarray  # float64 [C], the class frequencies that the probabilities assume
    # ONE_VIEW, or EIGHT_VIEWS if the probabilities are means over eight views; None if unknown.
    views: str | None
    # Sets of the model's classes that are judged as one; the labels are then those of `judged_classes`.
    joined: tuple[tuple[int, ...], ...] = ()


_TEXT = ("image/source_id", "image/key/sha256", "image/lesion_id", "image/group_id")


class _GroundTruthColumns:
    """Collector of the columns of a GroundTruth from batches of records."""

    def __init__(self) -> None:
        self._text: dict[str, list[str]] = {key: [] for key in _TEXT}
        self._labels: list[Any] = []

    def add(self, batch: dict[str, Any]) -> None:
        self._labels.append(batch["image/class/label"])
        for key, column in self._text.items():
            column += [value.decode() for value in batch[key]]

    def truth(self) -> GroundTruth:
        source_id, sha256, lesion_id, group_id = (self._text[key] for key in _TEXT)
        return GroundTruth(source_id, sha256, lesion_id, group_id, np.concatenate(self._labels))


def read_truth(info: DatasetInfo, split: str, batch_size: int) -> GroundTruth:
    """Read ids and labels of a split's originals, in file order.

    Raises:
        UsageError: See `read_originals`.
    """
    columns = _GroundTruthColumns()
    for batch in read_originals(info, split, batch_size):
        columns.add(batch)
    return columns.truth()


def infer(
    info: DatasetInfo, model: ModelInfo, network: LoadedModel, split: str, batch_size: int, tta: bool
) -> Predictions:
    """Run the model over the originals of a split, in file order.

    Returns:
        Predictions whose `seconds` cover reading and inference, but neither loading the model nor its first call.

    Raises:
        UsageError: See `read_originals`; also if the model does not give one finite probability per class.
    """
    columns, probabilities = _GroundTruthColumns(), []
    # The first call builds the graph, which would count against the first batch.
    for batch in read_originals(info, split, 1):
        network.probabilities(batch["image/encoded"], tta)
        break
    classifying = console.Phase("classifying", info.split(split).originals)
    started = time.perf_counter()
    for batch, scores in map_originals(info, split, batch_size, lambda encoded: network.probabilities(encoded, tta)):
        probabilities.append(scores)
        columns.add(batch)
        classifying.advance(len(scores))
    classifying.close()
    seconds = time.perf_counter() - started
    truth, found = columns.truth(), np.concatenate(probabilities)
    if found.shape != (len(truth.labels), len(model.classes)) or not np.isfinite(found).all():
        raise UsageError(
            f"--model {model.path}: does not give {len(model.classes)} finite probabilities per image; train it again"
        )
    return Predictions(truth, found, seconds, np.array(model.prior), EIGHT_VIEWS if tta else ONE_VIEW)


def read_images(info: DatasetInfo, split: str, wanted: set[str], batch_size: int) -> dict[str, bytes]:
    """Read the encoded images of the originals whose sha256 is wanted.

    Returns:
        `image/encoded` by sha256; images that the split does not hold are missing.

    Raises:
        UsageError: See `read_originals`.
    """
    found = {}
    for batch in read_originals(info, split, batch_size):
        for sha256, data in zip(batch["image/key/sha256"], batch["image/encoded"], strict=True):
            if sha256.decode() in wanted:
                found[sha256.decode()] = data
    return found


def write_predictions(
    predictions: Predictions, predicted: np.ndarray, classes: Sequence[str], model: str, path: Path
) -> None:
    """Write a Parquet table with one row for each image, in their order.

    Columns: source_id, sha256, lesion_id, group_id, label (int64; null for classes that are judged as one), class,
    top_class (null where two classes tie for first place), one `probability_<class>` (float32) per class of the model
    in label order, and model_fingerprint. The names are those of pipelines.score.

    Args:
        predictions: The images with labels and probabilities.
        predicted: int [n], the predicted judged class; negative where two classes tie for first place.
        classes: Class names in label order.
        model: The fingerprint of what made the probabilities; "" if unknown.
        path: The file to write.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    truth = predictions.truth
    judged = judged_classes(classes, predictions.joined)
    columns: dict[str, Any] = {
        "source_id": truth.source_id,
        "sha256": truth.sha256,
        "lesion_id": truth.lesion_id,
        "group_id": truth.group_id,
        "label": pa.array(
            [members[0] if len(members) == 1 else None for members in map(judged.members.__getitem__, truth.labels)],
            pa.int64(),
        ),
        "class": [judged.names[index] for index in truth.labels],
        "top_class": pa.array([judged.names[index] if index >= 0 else None for index in predicted], pa.string()),
    }
    for index, name in enumerate(class_names(classes)):
        columns[f"probability_{name}"] = pa.array(predictions.probabilities[:, index], pa.float32())
    columns["model_fingerprint"] = pa.array([model] * len(truth.labels), pa.string())
    pq.write_table(pa.table(columns).replace_schema_metadata(as_metadata(predictions.prior, predictions.views)), path)
