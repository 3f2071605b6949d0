"""Use a model that `trainer.task` exported: read its description and run it on the records of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.common.cli import UsageError, first_line
from pipelines.common.owned_folder import owned_folder
from pipelines.domain.model_files import MODEL_JSON, ModelFilesError, copy_checked, local_names
from pipelines.domain.model_info import ModelInfo, parse_model_info
from pipelines.imaging.previews import symmetric_activation
from pipelines.imaging.tensorflow_runtime import start_tensorflow
from pipelines.imaging.tta_views import symmetric_views

if TYPE_CHECKING:
    import numpy as np


def read_model_info(directory: Path) -> ModelInfo:
    """Read the model.json of a model directory.

    Raises:
        UsageError: If the directory is not a model that `trainer.task` wrote.
    """
    where, remedy = f"--model {directory}", "name the model directory that python -m trainer.task wrote"
    if not directory.is_dir():
        raise UsageError(f"{where}: no such directory; {remedy}")
    document = directory / MODEL_JSON
    for file in (directory / "saved_model.pb", document):
        if not file.is_file():
            raise UsageError(f"{where}: not a model directory (no {file.relative_to(directory)}); {remedy}")
    return parse_model_info(document.read_bytes(), "--model", str(directory))


class LoadedModel:
    """An exported model that is ready to be run on records. Loads TensorFlow."""

    def __init__(self, info: ModelInfo):
        """Load the SavedModel from a copy of its files, each of which is held against the fingerprint.

        Raises:
            UsageError: If a file is not the one that was exported, or it cannot be loaded or has no signature for
                records.
        """
        start_tensorflow()
        import tensorflow as tf

        self._tf, self._where = tf, f"--model {info.path}"
        try:
            with owned_folder("model") as copy:
                files = Path(info.path)
                copy_checked(
                    info.fingerprint, info.files, local_names(files), lambda name: (files / name).read_bytes(), copy
                )
                self._loaded = tf.saved_model.load(str(copy))
        except ModelFilesError as error:
            raise UsageError(f"{self._where}: {error}") from None
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise UsageError(f"{self._where}: cannot be loaded ({first_line(error)}); train it again") from None
        if "records" not in self._loaded.signatures:
            raise UsageError(f"{self._where}: has no signature 'records'; export it with python -m trainer.task")

    def _signature(self, name: str) -> Any:
        return self._loaded.signatures.get(name)

    def pixels(self, encoded: Any) -> Any:
        """Return the pixels that the network sees.

        Args:
            encoded: string [N], `image/encoded` of records.

        Returns:
            Tensor float32 [N, S, S, 3].
        """
        return self._signature("normalise")(image_encoded=self._tf.constant(encoded))["image"]

    @property
    def draws_maps(self) -> bool:
        """Whether `activation` can be called; models exported before there were such maps cannot make any."""
        return self._signature("class_activation") is not None and self._signature("normalise") is not None

    def require_views(self) -> None:
        """Raise UsageError unless the model can be run on flips and turns of a record.

        Raises:
            UsageError: If it cannot.
        """
        if self._signature("classify") is None or self._signature("normalise") is None:
            raise UsageError(f"--tta: {self._where} cannot be asked about turned pictures; leave --tta out")

    def probabilities(self, encoded: Any, tta: bool) -> np.ndarray:
        """Return the class probabilities of records.

        Args:
            encoded: string [N], `image/encoded` of records.
            tta: Average over the eight flips and quarter turns.

        Returns:
            float32 [N, C].
        """
        import numpy as np

        if not tta:
            return self._signature("records")(image_encoded=self._tf.constant(encoded))["probabilities"].numpy()
        classify = self._signature("classify")
        each = [classify(image=view)["probabilities"].numpy() for view in symmetric_views(self.pixels(encoded))]
        return np.asarray(np.mean(each, axis=0, dtype=np.float32))

    def activation(self, encoded: bytes) -> np.ndarray:
        """Return the class activation maps of one record, see `previews.symmetric_activation`.

        Args:
            encoded: `image/encoded` of the record.

        Returns:
            float32 [h, w, C].
        """
        activate = self._signature("class_activation")
        return symmetric_activation(
            lambda views: activate(image=self._tf.constant(views))["activation"].numpy(),
            self.pixels([encoded])[0].numpy(),
        )


def require_same_classes(model: ModelInfo, classes: Sequence[str], other: str) -> None:
    """Raise UsageError unless the model has the given classes in the given order.

    Args:
        model: Description of the model.
        classes: Names of the classes, by label.
        other: Option that the classes come from, for the message.

    Raises:
        UsageError: If the classes or their order differ.
    """
    if model.classes != tuple(classes):
        differing = sorted(set(model.classes) ^ set(classes)) or ["the same ones in another order"]
        raise UsageError(
            f"--model {model.path}: its {len(model.classes)} classes are not the {len(classes)} of {other} "
            f"(difference: {', '.join(differing)}); evaluate on a dataset prepared with its classes"
        )
