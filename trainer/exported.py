"""A model as `trainer.task` exported it: what it says about itself, and what it says of a dataset's records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.cli import UsageError, first_line, start_tensorflow
from pipelines.decisions import prior_of_model
from pipelines.operating_point import OperatingPoint, read_points
from pipelines.symmetries import symmetric_views
from pipelines.triage_pictures import symmetric_activation

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class ModelInfo:
    """What a model directory says about itself. `classes[i]` is the name of probability i.

    operating_points: see `operating_point.read_points`. prior: the class frequencies that probabilities stand for;
    equal ones where the model does not say. fold: of the dataset, the one that was left out of training; -1: none;
    None: the model does not say.
    """

    path: Path
    fingerprint: str
    dataset_fingerprint: str
    classes: tuple[str, ...]
    malignant_classes: tuple[str, ...]
    prior: tuple[float, ...] = ()
    fold: int | None = None
    operating_points: dict[str, tuple[OperatingPoint, ...]] = field(compare=False, default_factory=dict)


def read_model_info(directory: Path) -> ModelInfo:
    """Read DIRECTORY/assets/model.json. Raises UsageError for a directory that is not a model of `trainer.task`."""
    where, remedy = f"--model {directory}", "name the model directory that python -m trainer.task wrote"
    if not directory.is_dir():
        raise UsageError(f"{where}: no such directory; {remedy}")
    document = directory / "assets" / "model.json"
    for file in (directory / "saved_model.pb", document):
        if not file.is_file():
            raise UsageError(f"{where}: not a model directory (no {file.relative_to(directory)}); {remedy}")
    try:
        values = json.loads(document.read_text(encoding="utf-8"))
        classes = tuple(map(str, values["classes"]))
        return ModelInfo(
            path=directory,
            fingerprint=str(values["model_fingerprint"]),
            dataset_fingerprint=str(values["dataset_fingerprint"]),
            classes=classes,
            malignant_classes=tuple(map(str, values["malignant_classes"])),
            prior=prior_of_model(values.get("calibration", {}), classes),
            fold=None if values.get("fold") is None else int(values["fold"]),
            operating_points=read_points(values.get("operating_points", {})),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{where}: assets/model.json is damaged ({type(error).__name__}: {error}); {remedy}") from None


class LoadedModel:
    """An exported model, ready to be asked about records. Loads TensorFlow."""

    def __init__(self, info: ModelInfo):
        """UsageError for a SavedModel that cannot be loaded or has no signature for records."""
        start_tensorflow()
        import tensorflow as tf

        self._tf, self._where = tf, f"--model {info.path}"
        try:
            self._loaded = tf.saved_model.load(str(info.path))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise UsageError(f"{self._where}: cannot be loaded ({first_line(error)}); train it again") from None
        if "records" not in self._loaded.signatures:
            raise UsageError(f"{self._where}: has no signature 'records'; export it with python -m trainer.task")

    def _signature(self, name: str) -> Any:
        return self._loaded.signatures.get(name)

    @property
    def _transform(self) -> Any:
        """The tf.Transform graph that travels in the model, as `transform.Preprocessing` holds it; None without one."""
        return getattr(getattr(self._loaded, "preprocessing", None), "_transform", None)

    def pixels(self, encoded: Any) -> Any:
        """`image/encoded` of records, string [N] -> what the network sees, tensor float32 [N, S, S, 3]."""
        tf = self._tf
        count = len(encoded)
        sums = tf.zeros([count, 3], tf.int64)
        inputs = {
            "image/encoded": tf.constant(encoded),
            "image/class/text": tf.fill([count], ""),
            "image/channel_sum": sums,
            "image/channel_sum_of_squares": sums,
        }
        return self._transform.transform_fn(inputs)["image"]

    @property
    def draws_maps(self) -> bool:
        """Whether `activation` can be called: models exported before there were such maps make none."""
        return self._signature("class_activation") is not None and self._transform is not None

    def require_views(self) -> None:
        """Raise UsageError unless the model can be asked about flips and turns of a record."""
        if self._signature("classify") is None or self._transform is None:
            raise UsageError(f"--tta: {self._where} cannot be asked about turned pictures; leave --tta out")

    def probabilities(self, encoded: Any, tta: bool) -> np.ndarray:
        """float32 [N, C] of `image/encoded`, string [N]; tta: means over the eight flips and quarter turns."""
        import numpy as np

        if not tta:
            return self._signature("records")(image_encoded=self._tf.constant(encoded))["probabilities"].numpy()
        classify = self._signature("classify")
        each = [classify(image=view)["probabilities"].numpy() for view in symmetric_views(self.pixels(encoded))]
        return np.asarray(np.mean(each, axis=0, dtype=np.float32))

    def activation(self, encoded: bytes) -> np.ndarray:
        """Class activation maps of one record, float32 [h, w, C]: see `triage_pictures.symmetric_activation`."""
        activate = self._signature("class_activation")
        return symmetric_activation(
            lambda views: activate(image=self._tf.constant(views))["activation"].numpy(),
            self.pixels([encoded])[0].numpy(),
        )


def require_same_classes(model: ModelInfo, classes: Sequence[str], other: str) -> None:
    """Raise UsageError unless the model has these classes in this order. other: the option that they come from."""
    if model.classes != tuple(classes):
        differing = sorted(set(model.classes) ^ set(classes)) or ["the same ones in another order"]
        raise UsageError(
            f"--model {model.path}: its {len(model.classes)} classes are not the {len(classes)} of {other} "
            f"(difference: {', '.join(differing)}); evaluate on a dataset prepared with its classes"
        )
