"""Exported models behind a Beam ModelHandler: encoded images in, probabilities or the reason of a failure out."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from apache_beam.ml.inference.base import ModelHandler

from pipelines import storage
from pipelines.images import BadImage, encode_jpeg
from pipelines.model_fingerprint import model_fingerprint
from pipelines.model_info import ModelInfo
from pipelines.symmetries import symmetric_views
from pipelines.triage_pictures import symmetric_activation

_BLANK = encode_jpeg(np.zeros((1, 1, 3), np.uint8))
# TensorFlow takes the images of one loop in turn, on one core; the exported `serving_default` is such a loop.
_LOOPS = min(8, os.cpu_count() or 1)


class EncodedImage(NamedTuple):
    """What goes to the model: a raw image file, or (stored) the `image/encoded` of a TFRecord."""

    data: bytes
    stored: bool = False


class Prediction(NamedTuple):
    """by_model: probabilities float32 [models, classes]; seconds: this image's share of its batch's time."""

    by_model: np.ndarray
    seconds: float


class ModelError(Exception):
    """A model that cannot be loaded, or is not what its description says. The message is one line."""


def decoder_message(text: str) -> str:
    """What the decoder said, out of TensorFlow's account of where in the graph it said it."""
    lines = [line.strip() for line in text.splitlines()]
    told = [
        line for line in lines if line and not line.startswith(("Graph execution error", "Detected at", "<stack", "[["))
    ]
    return told[0] if told else text


@contextlib.contextmanager
def _on_this_machine(folder: str) -> Iterator[str]:
    """A local folder with the model's files: itself, or a copy for as long as the model is being loaded.

    TensorFlow has filesystems of its own, with credentials and settings of their own; ours has read model.json.
    """
    if storage.is_local(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="model-") as copy:
        storage.copy_tree(folder, copy)
        yield copy


class _Network:
    """One exported model."""

    def __init__(self, info: ModelInfo):
        import tensorflow as tf

        self._tf = tf
        self.info = info
        try:
            with _on_this_machine(info.path) as folder:
                self._model = tf.saved_model.load(folder)
            weights = [weight.numpy() for weight in self._model.weights]
            signatures = self._model.signatures
            self.from_records = signatures["records"]
            self.standardize = signatures["standardize"]
            self.classify = signatures["classify"]
            # Models exported before there were such maps have none.
            self.class_activation = signatures.get("class_activation")
        except Exception as error:  # TensorFlow raises many kinds on a damaged SavedModel
            raise ModelError(f"cannot be loaded: {(str(error) or error.__class__.__name__).splitlines()[0]}") from error
        found = model_fingerprint(weights, info.network, info.dataset_fingerprint)
        if found != info.fingerprint:
            raise ModelError(
                f"its weights have the fingerprint {found[:16]}, its model.json says {info.fingerprint[:16]}; "
                "the folder is damaged, or was replaced while it was read"
            )
        classes = self.classify.structured_outputs["probabilities"].shape[-1]
        if classes != len(info.classes):
            raise ModelError(f"gives {classes} probabilities for {len(info.classes)} classes")
        self.standardize_all = tf.function(
            self._standardize_batch, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")]
        )

    def _standardize_batch(self, batch: Any) -> Any:
        """Raw files, string [N] -> float32 [N, S, S, 3], by loops that run side by side."""
        tf = self._tf
        size = self.info.image_size

        def loop(part: Any) -> Any:
            return tf.map_fn(
                lambda data: self.standardize(image_bytes=data)["image"],
                part,
                fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32),
            )

        count = tf.size(batch)
        bounds = [count * index // _LOOPS for index in range(_LOOPS + 1)]
        return tf.concat([loop(batch[start:end]) for start, end in itertools.pairwise(bounds)], axis=0)

    def classify_views(self, pixels: Any) -> np.ndarray:
        """Mean probabilities over the eight symmetries of float32 [N, S, S, 3], summed in one fixed order."""
        each = [self.classify(image=view)["probabilities"].numpy() for view in symmetric_views(pixels)]
        return np.asarray(np.mean(each, axis=0, dtype=np.float32))


class LoadedModels:
    """One exported model or several, ready to score. A class with methods, so that Beam can share it between processes.

    Raises ModelError.
    """

    def __init__(self, models: Sequence[ModelInfo], tta: bool):
        import tensorflow as tf

        self._tf = tf
        self._tta = tta
        self._networks = []
        for info in models:
            try:
                self._networks.append(_Network(info))
            except ModelError as error:
                raise ModelError(f"{info.path}: {error}") from error
        # The first batch would otherwise pay for building the computation.
        self._from_files([_BLANK])

    def predict(self, batch: Sequence[EncodedImage]) -> list[Prediction | BadImage]:
        """Per image its probabilities or why it has none; in the order given.

        A batch that fails is taken apart: each image is standardised alone, and those that can be are scored again
        together, so that one bad image costs the others a second decoding and nothing else.
        """
        results: list[Any] = [None] * len(batch)
        for stored, run in ((False, self._from_files), (True, self._from_records)):
            places = [index for index, image in enumerate(batch) if image.stored is stored]
            if places:
                started = time.perf_counter()
                found = self._run_apart(run, [batch[index].data for index in places])
                seconds = (time.perf_counter() - started) / len(places)
                for index, result in zip(places, found, strict=True):
                    results[index] = result if isinstance(result, BadImage) else Prediction(result, seconds)
        return results

    def _run_apart(self, run: Any, batch: list[bytes]) -> list[np.ndarray | BadImage]:
        try:
            return list(run(batch))
        except self._tf.errors.InvalidArgumentError:
            failures = [self._failure(run, data) for data in batch]
        good = [data for data, failure in zip(batch, failures, strict=True) if failure is None]
        if len(good) == len(batch):
            raise RuntimeError("the model fails on a batch though it takes each of its images alone")
        rows = iter(run(good)) if good else iter(())
        return [next(rows) if failure is None else failure for failure in failures]

    def _failure(self, run: Any, data: bytes) -> BadImage | None:
        """Why a model cannot take an image by itself."""
        try:
            if run == self._from_records:
                run([data])
            else:
                for network in self._networks:
                    network.standardize(image_bytes=self._tf.constant(data))
        except self._tf.errors.InvalidArgumentError as error:
            return BadImage("undecodable", decoder_message(error.message))
        return None

    def _from_files(self, batch: list[bytes]) -> np.ndarray:
        """Raw files -> float32 [N, models, classes]. InvalidArgumentError when one cannot be decoded."""
        encoded = self._tf.constant(batch)
        pixels: dict[str, Any] = {}
        by_model = []
        for network in self._networks:
            # Models trained on one dataset see the same pixels: decoded once.
            source = network.info.dataset_fingerprint
            if source not in pixels:
                pixels[source] = network.standardize_all(encoded)
            if self._tta:
                by_model.append(network.classify_views(pixels[source]))
            else:
                by_model.append(network.classify(image=pixels[source])["probabilities"].numpy())
        return np.stack(by_model, axis=1)

    def _from_records(self, batch: list[bytes]) -> np.ndarray:
        """`image/encoded` of records -> float32 [N, models, classes]."""
        encoded = self._tf.constant(batch)
        by_model = [network.from_records(image_encoded=encoded)["probabilities"].numpy() for network in self._networks]
        return np.stack(by_model, axis=1)

    def activation(self, data: bytes) -> np.ndarray | None:
        """Class activation maps of a raw file, float32 [h, w, classes], by the first model; None if it makes none.

        Means over the eight symmetries (see `triage_pictures.symmetric_activation`). Raises BadImage.
        """
        network = self._networks[0]
        if network.class_activation is None:
            return None
        try:
            pixels = network.standardize(image_bytes=self._tf.constant(data))["image"].numpy()
        except self._tf.errors.InvalidArgumentError as error:
            raise BadImage("undecodable", decoder_message(error.message)) from error
        return symmetric_activation(
            lambda views: network.class_activation(image=self._tf.constant(views))["activation"].numpy(), pixels
        )


@functools.lru_cache(maxsize=1)
def load_models(models: tuple[ModelInfo, ...], tta: bool) -> LoadedModels:
    """The models, loaded once in a process: a job that runs in the process that checked them does not load them twice.

    Raises ModelError.
    """
    return LoadedModels(models, tta)


class LesionModelHandler(ModelHandler[EncodedImage, Any, LoadedModels]):
    """Loads the models and sends them batches. shared: one copy for all worker processes of a machine."""

    def __init__(self, models: tuple[ModelInfo, ...], tta: bool, shared: bool):
        super().__init__()
        self._models = models
        self._tta = tta
        self._shared = shared

    def load_model(self) -> LoadedModels:
        return load_models(self._models, self._tta)

    def share_model_across_processes(self) -> bool:
        return self._shared

    def run_inference(
        self, batch: Sequence[EncodedImage], model: LoadedModels, inference_args: Mapping[str, Any] | None = None
    ) -> Iterable[Prediction | BadImage]:
        return model.predict(batch)

    def get_num_bytes(self, batch: Sequence[EncodedImage]) -> int:
        return sum(len(image.data) for image in batch)

    def get_metrics_namespace(self) -> str:
        return "score"
