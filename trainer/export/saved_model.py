"""Export a model: a SavedModel that needs only TensorFlow and holds its preprocessing, class list and figures.

Signatures (C classes in the order of model.json, S the image size):
  serving_default  image_bytes string [N], raw image files  -> probabilities float32 [N, C]
  standardize      image_bytes string [], one raw file      -> image float32 [S, S, 3], normalised pixels
  classify         image float32 [N, S, S, 3]               -> probabilities float32 [N, C]
  records          image_encoded string [N], from TFRecords -> probabilities float32 [N, C]
  normalise        image_encoded string [N], from TFRecords -> image float32 [N, S, S, 3], normalised pixels
  class_activation image float32 [N, S, S, 3]               -> activation float32 [N, h, w, C]
A bad file fails the whole call; to find out which file it is, send files to `standardize` one by one.

Probabilities are the softmax of the logits at the temperature in model.json's `calibration` (see
`calibration.tempered`).

`class_activation` gives class activation maps (Zhou et al. 2016): where, on the last h x w feature map, the evidence
for each class lies. The mean of a map over its positions, plus the bias of the class, is the logit of the class (before
the temperature).
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipelines.domain.decision_rule import prior_of_model
from pipelines.domain.model_files import MODEL_JSON, seal_model
from pipelines.domain.model_info import SCHEMA_VERSION
from trainer.data.dataset_info import DatasetInfo
from trainer.data.preprocessing import Preprocessing
from trainer.export.calibration import log_frequencies, tempered
from trainer.export.train_images import TRAIN_IMAGES, TrainImages
from trainer.network.model import ModelConfig, build_model


def describe_model(
    info: DatasetInfo,
    config: ModelConfig,
    weights: Sequence[np.ndarray],
    metrics: Mapping[str, Any],
    calibration: Mapping[str, Any],
    operating_points: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the contents of assets/model.json, except for what `seal_model` adds.

    Args:
        info: Dataset of the training.
        config: Configuration of the network.
        weights: Weights of the network, in the order of `model.weights`.
        metrics: Split -> figures.
        calibration: See `fitting.Fitted`.
        operating_points: See `fitting.Fitted`.
    """
    network = {**config.as_dict(), "image_size": info.image_size, "classes": len(info.classes)}
    # The temperature changes the probabilities.
    network["temperature"] = calibration["temperature"]
    return {
        "schema_version": SCHEMA_VERSION,
        "classes": list(info.classes),
        "malignant_classes": list(info.malignant_classes),
        "image_size": info.image_size,
        "aspect": info.aspect,
        "encoding": info.encoding,
        "dataset_fingerprint": info.fingerprint,
        # What trained the weights: this split but for this fold; -1: all of it.
        "split": "train",
        "fold": info.fold,
        "weights_fingerprint": weights_fingerprint(weights, network, info.fingerprint),
        "train_class_distribution": info.train_distribution(),
        "metrics": dict(metrics),
        "calibration": dict(calibration),
        "operating_points": dict(operating_points),
        "network": network,
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
    }


def weights_fingerprint(weights: Iterable[np.ndarray], network: Mapping[str, Any], dataset_fingerprint: str) -> str:
    """Return the SHA-256 of the network's configuration, the dataset's fingerprint and all weights, as 64 hex digits.

    A repetition of a training has the same. TensorFlow writes the graph otherwise each time, so the fingerprint of the
    model, which covers its files, is another.

    Args:
        weights: The weights in the order of the network.
        network: The network's configuration.
        dataset_fingerprint: Fingerprint of the training dataset.
    """
    digest = hashlib.sha256()
    digest.update(json.dumps(network, sort_keys=True).encode())
    digest.update(dataset_fingerprint.encode())
    for weight in weights:
        digest.update(f"{weight.dtype.str}{weight.shape}".encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def pooled_features(model: keras.Model) -> tuple[keras.KerasTensor, keras.layers.Dense]:
    """Return the last feature map, [N, h, w, K], and the linear layer that makes logits of its mean over the positions.

    The search goes backwards from the logits, so that pooling elsewhere in the network (squeeze-and-excitation) is not
    mistaken for the last one.

    Raises:
        ValueError: If the network ends in another way, so that its logits are not means of maps.
    """
    makers = {id(layer.output): layer for layer in model.layers}
    head = makers[id(model.outputs[0])]
    if not isinstance(head, keras.layers.Dense) or head.activation is not keras.activations.linear:
        raise ValueError(f"{model.name}: the last layer, {head.name}, is not a linear Dense layer")
    below = makers[id(head.input)]
    while isinstance(below, keras.layers.Dropout):
        below = makers[id(below.input)]
    if not isinstance(below, keras.layers.GlobalAveragePooling2D):
        raise ValueError(f"{model.name}: {head.name} is fed by {below.name}, not by GlobalAveragePooling2D")
    return below.input, head


class ExportedModel(tf.Module):
    """Contents of the SavedModel: preprocessing graphs, variables of the network, metadata file and signatures."""

    def __init__(
        self,
        model: keras.Model,
        temperature: float,
        prior: Sequence[float],
        preprocessing: Preprocessing,
        metadata_file: Path,
        train_images_file: Path,
    ):
        """Build the signatures.

        Args:
            model: Network, built for the dataset's image size.
            temperature: Temperature of the calibration.
            prior: [C], class frequencies that the probabilities stand for.
            preprocessing: Preprocessing graphs of the dataset.
            metadata_file: model.json, which becomes an asset.
            train_images_file: Digests of the images that trained it, which become another.
        """
        super().__init__(name="lesion_classifier")
        self.preprocessing = preprocessing
        self.metadata = tf.saved_model.Asset(str(metadata_file))
        self.train_images = tf.saved_model.Asset(str(train_images_file))
        # Hold the variables, not the Keras model, so that the SavedModel contains nothing of Keras.
        self.weights = [weight.value for weight in model.weights]
        size = model.input_shape[1]
        features, head = pooled_features(model)
        feature_map = keras.Model(model.input, features)

        offset = tf.constant(log_frequencies(prior), tf.float32)

        def probabilities(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probabilities": tf.nn.softmax(tempered(model(images, training=False), temperature, offset))}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def serving_default(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            # One by one, as in prepare: the other images of a batch must not change a pixel.
            encoded = tf.map_fn(preprocessing.standardize, image_bytes, fn_output_signature=tf.string)
            return probabilities(preprocessing.normalise(encoded))

        @tf.function(input_signature=[tf.TensorSpec([], tf.string, name="image_bytes")])
        def standardize(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"image": preprocessing.normalise(preprocessing.standardize(image_bytes)[tf.newaxis])[0]}

        @tf.function(input_signature=[tf.TensorSpec([None, size, size, 3], tf.float32, name="image")])
        def classify(image: tf.Tensor) -> dict[str, tf.Tensor]:
            return probabilities(image)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_encoded")])
        def records(image_encoded: tf.Tensor) -> dict[str, tf.Tensor]:
            return probabilities(preprocessing.normalise(image_encoded))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_encoded")])
        def normalise(image_encoded: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"image": preprocessing.normalise(image_encoded)}

        @tf.function(input_signature=[tf.TensorSpec([None, size, size, 3], tf.float32, name="image")])
        def class_activation(image: tf.Tensor) -> dict[str, tf.Tensor]:
            maps = tf.cast(feature_map(image, training=False), tf.float32)
            return {"activation": tf.tensordot(maps, tf.convert_to_tensor(head.kernel), axes=1)}

        self.entry_points = {
            "serving_default": serving_default,
            "standardize": standardize,
            "classify": classify,
            "records": records,
            "normalise": normalise,
            "class_activation": class_activation,
        }


def export_model(
    directory: Path,
    info: DatasetInfo,
    preprocessing: Preprocessing,
    config: ModelConfig,
    weights: Sequence[np.ndarray],
    metrics: Mapping[str, Any],
    calibration: Mapping[str, Any],
    operating_points: Mapping[str, Any],
    train_images: TrainImages,
) -> dict[str, Any]:
    """Write the SavedModel and return the contents of its model.json.

    The network is built anew outside of any strategy, so the file does not depend on what the model was trained on. The
    SavedModel is written beside `directory` and renamed: either the whole model is there, or nothing.

    Args:
        directory: Directory to write, which must not exist.
        info: Dataset of the training.
        preprocessing: Preprocessing graphs of the dataset.
        config: Configuration of the network.
        weights: Weights in the order of `model.weights` of `build_model(config, ...)`.
        metrics: See `describe_model`.
        calibration: See `describe_model`.
        operating_points: See `describe_model`.
        train_images: What the weights were trained on.
    """
    description = describe_model(info, config, weights, metrics, calibration, operating_points)
    model = build_model(config, info.image_size, len(info.classes))
    model.set_weights(list(weights))
    temporary = temporary_sibling(directory)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    contents = {
        # A place for the file that is written once all others are there.
        MODEL_JSON: b"",
        TRAIN_IMAGES: train_images.as_bytes(),
    }
    files = [temporary / Path(name).name for name in contents]
    for file, content in zip(files, contents.values(), strict=True):
        file.write_bytes(content)
    prior = prior_of_model(calibration, info.classes)
    exported = ExportedModel(model, calibration["temperature"], prior, preprocessing, *files)
    saved = temporary / "saved"
    tf.saved_model.save(exported, str(saved), signatures=exported.entry_points)
    sealed = seal_model(saved, description)
    os.rename(saved, directory)
    shutil.rmtree(temporary)
    return sealed


def temporary_sibling(directory: Path) -> Path:
    """Return the directory in which a model is written before it is renamed."""
    return directory.with_name(f".{directory.name}.tmp")
