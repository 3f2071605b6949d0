"""Run exported models through a Beam ModelHandler: records in, probabilities or failure reasons out."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from apache_beam.ml.inference.base import ModelHandler

from pipelines.common.cli import first_line
from pipelines.common.owned_folder import owned_folder
from pipelines.domain.model_files import ModelFilesError, copy_checked, local_names
from pipelines.domain.model_info import ModelInfo
from pipelines.imaging.encoding import encode
from pipelines.imaging.images import BadImage
from pipelines.imaging.previews import symmetric_activation
from pipelines.imaging.tta_views import symmetric_views
from pipelines.score.model_input import ModelInput, form_of, forms_of
from pipelines.storage import filesystem


class Prediction(NamedTuple):
    """The probabilities that the models give one image."""

    by_model: np.ndarray  # probabilities, float32 [models, classes]
    seconds: float  # this image's share of its batch's time


class ModelError(Exception):
    """A model that cannot be loaded or does not match its description; the message is one line."""


def decoder_message(text: str) -> str:
    """Return the decoder's own message from TensorFlow's error text, without the graph locations."""
    lines = [line.strip() for line in text.splitlines()]
    told = [
        line for line in lines if line and not line.startswith(("Graph execution error", "Detected at", "<stack", "[["))
    ]
    return told[0] if told else text


@contextlib.contextmanager
def _checked_copy(info: ModelInfo) -> Iterator[str]:
    """Yield a temporary folder with the model's files, each of which was held against its fingerprint.

    TensorFlow does not read the folder itself: it may be replaced at any time, and on a remote path TensorFlow would
    have credentials and settings of its own.

    Raises:
        ModelFilesError: A file is missing, another, or one too many.
        StorageError: One cannot be read.
    """
    local = filesystem.is_local(info.path)
    with owned_folder("model") as copy:
        names = local_names(Path(info.path)) if local else filesystem.list_tree(info.path)
        copy_checked(
            info.fingerprint,
            info.files,
            names,
            lambda name: filesystem.read_bytes(filesystem.join(info.path, *name.split("/"))),
            copy,
        )
        yield str(copy)


class _Network:
    """One exported model."""

    def __init__(self, info: ModelInfo):
        import tensorflow as tf

        self._tf = tf
        self.info = info
        try:
            with _checked_copy(info) as folder:
                self._model = tf.saved_model.load(folder)
            signatures = self._model.signatures
            self.normalise = signatures["normalise"]
            self.classify = signatures["classify"]
            # Older exports have no such signature.
            self.class_activation = signatures.get("class_activation")
        except ModelFilesError as error:
            raise ModelError(str(error)) from error
        except Exception as error:  # TensorFlow raises many error types for a damaged SavedModel
            raise ModelError(f"cannot be loaded: {first_line(error)}") from error
        classes = self.classify.structured_outputs["probabilities"].shape[-1]
        if classes != len(info.classes):
            raise ModelError(f"gives {classes} probabilities for {len(info.classes)} classes")

    def classify_views(self, pixels: Any) -> np.ndarray:
        """Return the mean probabilities over the eight symmetries, summed in a fixed order.

        Args:
            pixels: Normalised pixels, float32 [N, S, S, 3].

        Returns:
            float32 [N, classes].
        """
        each = [self.classify(image=view)["probabilities"].numpy() for view in symmetric_views(pixels)]
        return np.asarray(np.mean(each, axis=0, dtype=np.float32))


class LoadedModels:
    """One or more exported models, loaded and ready to score.

    Beam needs a class with methods to share it between processes.
    """

    def __init__(self, models: Sequence[ModelInfo], tta: bool):
        """Load the models, and run a blank image through them to build their graphs.

        Args:
            models: The models to load, in order.
            tta: Whether to average over the eight flips and quarter turns of each image.

        Raises:
            ModelError: A model cannot be loaded or does not match its description.
        """
        import tensorflow as tf

        self._tf = tf
        self._tta = tta
        self._networks = []
        for info in models:
            try:
                self._networks.append(_Network(info))
            except ModelError as error:
                raise ModelError(f"{info.path}: {error}") from error
        self._forms = forms_of(models)
        # Otherwise the first batch would pay for building the graphs.
        blank = [
            encode(np.zeros((form.image_size, form.image_size, 3), np.uint8), form.encoding) for form in self._forms
        ]
        self._probabilities([ModelInput(tuple(blank))])

    def predict(self, batch: Sequence[ModelInput]) -> list[Prediction | BadImage]:
        """Score a batch and return one result per image, in order.

        If a batch fails, each image is scored alone to find those that fail, and the others are scored again together.
        One bad record thus costs the others time and nothing else.

        Args:
            batch: Images as the models take them.

        Returns:
            For each image a Prediction, or a BadImage with the reason why there is none.

        Raises:
            RuntimeError: The batch fails although each of its images passes alone.
        """
        if not batch:
            return []
        started = time.perf_counter()
        found = self._probabilities_or_failures(batch)
        seconds = (time.perf_counter() - started) / len(batch)
        return [result if isinstance(result, BadImage) else Prediction(result, seconds) for result in found]

    def _probabilities_or_failures(self, batch: Sequence[ModelInput]) -> list[np.ndarray | BadImage]:
        try:
            return list(self._probabilities(batch))
        except self._tf.errors.InvalidArgumentError:
            failures = [self._failure(image) for image in batch]
        good = [image for image, failure in zip(batch, failures, strict=True) if failure is None]
        if len(good) == len(batch):
            raise RuntimeError("the model fails on a batch though it takes each of its images alone")
        rows = iter(self._probabilities(good)) if good else iter(())
        return [next(rows) if failure is None else failure for failure in failures]

    def _failure(self, image: ModelInput) -> BadImage | None:
        """Return the reason why the models reject an image on its own; None if they accept it."""
        try:
            self._probabilities([image])
        except self._tf.errors.InvalidArgumentError as error:
            return BadImage("undecodable", decoder_message(error.message))
        return None

    def _probabilities(self, batch: Sequence[ModelInput]) -> np.ndarray:
        """Score images together.

        Returns:
            float32 [N, models, classes].

        Raises:
            InvalidArgumentError: A record cannot be decoded.
        """
        pixels: dict[str, Any] = {}
        by_model = []
        for network in self._networks:
            # Models trained on the same dataset see the same pixels, so decode once for all of them.
            source = network.info.dataset_fingerprint
            if source not in pixels:
                place = self._forms.index(form_of(network.info))
                encoded = self._tf.constant([image.records[place] for image in batch])
                pixels[source] = network.normalise(image_encoded=encoded)["image"]
            if self._tta:
                by_model.append(network.classify_views(pixels[source]))
            else:
                by_model.append(network.classify(image=pixels[source])["probabilities"].numpy())
        return np.stack(by_model, axis=1)

    def activation(self, image: ModelInput) -> np.ndarray | None:
        """Return the first model's class activation maps of an image.

        Args:
            image: The image as the models take it.

        Returns:
            float32 [h, w, classes], the mean over the eight symmetries (see `previews.symmetric_activation`);
            None if the model has no activation maps.

        Raises:
            BadImage: The record cannot be decoded.
        """
        network = self._networks[0]
        if network.class_activation is None:
            return None
        try:
            pixels = network.normalise(image_encoded=self._tf.constant(image.records[:1]))["image"][0].numpy()
        except self._tf.errors.InvalidArgumentError as error:
            raise BadImage("undecodable", decoder_message(error.message)) from error
        return symmetric_activation(
            lambda views: network.class_activation(image=self._tf.constant(views))["activation"].numpy(), pixels
        )


@functools.lru_cache(maxsize=1)
def load_models(models: tuple[ModelInfo, ...], tta: bool) -> LoadedModels:
    """Load the models once per process and cache them.

    A job that runs in the process that checked the models does not load them twice.

    Raises:
        ModelError: A model cannot be loaded or does not match its description.
    """
    return LoadedModels(models, tta)


class LesionModelHandler(ModelHandler[ModelInput, Any, LoadedModels]):
    """ModelHandler that loads the models and sends them batches."""

    def __init__(self, models: tuple[ModelInfo, ...], tta: bool, shared: bool):
        """Initialize the handler.

        Args:
            models: The models to load, in order.
            tta: Whether to average over the eight flips and quarter turns of each image.
            shared: Whether all worker processes of a machine share one copy of the models.
        """
        super().__init__()
        self._models = models
        self._tta = tta
        self._shared = shared

    def load_model(self) -> LoadedModels:
        """Load the models, or return those that this process already holds."""
        return load_models(self._models, self._tta)

    def share_model_across_processes(self) -> bool:
        """Return whether the worker processes of a machine share one copy of the models."""
        return self._shared

    def run_inference(
        self, batch: Sequence[ModelInput], model: LoadedModels, inference_args: Mapping[str, Any] | None = None
    ) -> Iterable[Prediction | BadImage]:
        """Score a batch with the loaded models.

        Args:
            batch: Images as the models take them.
            model: What `load_model` returned.
            inference_args: Ignored.

        Returns:
            For each image, in order, a Prediction or a BadImage.
        """
        return model.predict(batch)

    def get_num_bytes(self, batch: Sequence[ModelInput]) -> int:
        """Return the total size of the records in bytes."""
        return sum(len(record) for image in batch for record in image.records)

    def get_metrics_namespace(self) -> str:
        """Return the namespace of RunInference's metrics."""
        return "score"
