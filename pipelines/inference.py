"""The exported model as a Beam ModelHandler: encoded images in, probabilities or the reason of a failure out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from apache_beam.ml.inference.base import ModelHandler

from pipelines.images import BadImage


def decoder_message(text: str) -> str:
    """What the decoder said, out of TensorFlow's account of where in the graph it said it."""
    lines = [line.strip() for line in text.splitlines()]
    told = [
        line for line in lines if line and not line.startswith(("Graph execution error", "Detected at", "<stack", "[["))
    ]
    return told[0] if told else text


class LoadedModel:
    """A SavedModel of trainer.task. A class, not the bare signatures, so that Beam can share it between processes."""

    def __init__(self, folder: str):
        import tensorflow as tf

        self._tf = tf
        self._model = tf.saved_model.load(folder)
        self._bytes = self._model.signatures["serving_default"]
        self._standardize = self._model.signatures["standardize"]
        self._classify = self._model.signatures["classify"]

    def require(self, classes: int) -> None:
        """Raise ValueError unless the model gives probabilities for that many classes."""
        found = self._classify.structured_outputs["probabilities"].shape[-1]
        if found != classes:
            raise ValueError(f"gives {found} probabilities for {classes} classes")

    def predict(self, batch: Sequence[bytes]) -> list[np.ndarray | BadImage]:
        """Per image its probabilities, float32 [classes], or why it has none; in the order given.

        A batch with a bad image is taken apart: each image is standardised alone and the good ones are classified
        together, so that one bad image costs the others a second decoding and nothing else.
        """
        try:
            return list(self._bytes(image_bytes=self._tf.constant(list(batch)))["probabilities"].numpy())
        except self._tf.errors.InvalidArgumentError:
            return self._predict_apart(batch)

    def _predict_apart(self, batch: Sequence[bytes]) -> list[np.ndarray | BadImage]:
        results: list[Any] = []
        for data in batch:
            try:
                results.append(self._standardize(image_bytes=self._tf.constant(data))["image"])
            except self._tf.errors.InvalidArgumentError as error:
                results.append(BadImage("undecodable", decoder_message(error.message)))
        good = [index for index, result in enumerate(results) if not isinstance(result, BadImage)]
        if good:
            pixels = self._tf.stack([results[index] for index in good])
            for index, row in zip(good, self._classify(image=pixels)["probabilities"].numpy(), strict=True):
                results[index] = row
        return results


class LesionModelHandler(ModelHandler[bytes, Any, LoadedModel]):
    """Loads the model once per process and sends it batches of at most `batch_size` encoded images."""

    def __init__(self, folder: str, batch_size: int):
        super().__init__(max_batch_size=batch_size, min_batch_size=min(batch_size, 8))
        self._folder = folder

    def load_model(self) -> LoadedModel:
        return LoadedModel(self._folder)

    def run_inference(
        self, batch: Sequence[bytes], model: LoadedModel, inference_args: Mapping[str, Any] | None = None
    ) -> Iterable[np.ndarray | BadImage]:
        return model.predict(batch)

    def get_num_bytes(self, batch: Sequence[bytes]) -> int:
        return sum(map(len, batch))

    def get_metrics_namespace(self) -> str:
        return "score"
