"""What is fitted on the validation split after training: temperature and operating points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy.special import softmax

from pipelines.domain.decision_rule import EIGHT_VIEWS, ONE_VIEW, malignancy_scores
from pipelines.imaging.tta_views import SYMMETRIES, symmetric_views
from trainer.data.dataset_info import DatasetInfo
from trainer.data.originals import map_originals
from trainer.data.preprocessing import Preprocessing
from trainer.export.calibration import (
    BINS,
    ReliabilityBin,
    example_weights,
    expected_calibration_error,
    fit_temperature,
    log_frequencies,
    reliability,
    tempered,
)
from trainer.export.operating_points import operating_points
from trainer.network.model import ModelConfig, build_model

SPLIT = "validation"
# Eight views of this many images at once fit into memory wherever a training step does.
_BATCH = 32


@dataclass(frozen=True)
class Fitted:
    """What was fitted to a network, and how well calibrated it is."""

    temperature: float
    calibration: dict[str, Any]  # as in model.json
    operating_points: dict[str, list[dict[str, Any]]]  # as in model.json
    before: list[ReliabilityBin]  # without the temperature, with images weighted to match the prior
    after: list[ReliabilityBin]  # with the temperature, weighted likewise


def fit_network(
    info: DatasetInfo,
    preprocessing: Preprocessing,
    config: ModelConfig,
    weights: Sequence[np.ndarray],
    prior: np.ndarray,
) -> Fitted:
    """Fit a network with the given weights on the validation split (see `fit_outputs`).

    Args:
        info: The dataset.
        preprocessing: Turns encoded images into the network's input.
        config: The architecture of the network.
        weights: As for `export_model`.
        prior: float64 [C], the class frequencies that the probabilities assume.
    """
    model = build_model(config, info.image_size, len(info.classes))
    model.set_weights(list(weights))
    logits, labels = validation_logits(info, preprocessing, model)
    return fit_outputs(logits, labels, prior, info.classes, info.malignant_classes)


def validation_logits(
    info: DatasetInfo, preprocessing: Preprocessing, model: keras.Model
) -> tuple[np.ndarray, np.ndarray]:
    """Compute logits of the validation originals, in file order.

    Returns:
        Logits float32 [n, 8, C] and labels int64 [n]. The eight are `symmetric_views` of the picture; the first one is
        the picture as it is.
    """
    normalise = tf.function(preprocessing.normalise, input_signature=[tf.TensorSpec([None], tf.string)])
    pixels = tf.TensorSpec([None, info.image_size, info.image_size, 3], tf.float32)
    # Traced once for all views, and here rather than in the threads, which do not see Keras' settings.
    network = tf.function(lambda images: model(images, training=False)).get_concrete_function(pixels)

    def views(encoded: np.ndarray) -> np.ndarray:
        return np.stack([network(view).numpy() for view in symmetric_views(normalise(encoded))], axis=1)

    logits, labels = [np.zeros((0, len(SYMMETRIES), len(info.classes)), np.float32)], [np.zeros(0, np.int64)]
    for batch, found in map_originals(info, SPLIT, _BATCH, views):
        logits.append(found)
        labels.append(batch["image/class/label"])
    return np.concatenate(logits), np.concatenate(labels)


def fit_outputs(
    logits: np.ndarray, labels: np.ndarray, prior: np.ndarray, classes: Sequence[str], malignant: Sequence[str]
) -> Fitted:
    """Fit the temperature to logits, measure calibration and choose operating points.

    The temperature is fitted to single views, with images weighted to match the prior. The operating points are chosen
    on the images as they were photographed, without weights.

    Args:
        logits: float32 [n, 8, C], from `validation_logits`.
        labels: int64 [n].
        prior: float64 [C], the class frequencies that the probabilities assume.
        classes: Class names in label order.
        malignant: The names of the malignant classes.
    """
    weights = example_weights(labels, prior)
    offset = log_frequencies(prior)
    # Rounded, so that it does not depend on the last bits of the logits: it is part of the model's fingerprint.
    temperature = float(f"{fit_temperature(logits[:, 0], labels, weights, offset):.4g}")
    before = softmax(logits[:, 0].astype(np.float64), axis=1)
    after = softmax(tempered(logits.astype(np.float64), temperature, offset), axis=2)
    calibration = {
        "temperature": temperature,
        "prior": dict(zip(classes, map(float, prior), strict=True)),
        "expected_calibration_error": {
            name: {
                "before": expected_calibration_error(before, labels, chosen),
                "after": expected_calibration_error(after[:, 0], labels, chosen),
            }
            for name, chosen in (("as_prior", weights), ("as_photographed", None))
        },
        "bins": BINS,
        "split": SPLIT,
        "n": len(labels),
    }
    is_malignant = np.isin(labels, [label for label, name in enumerate(classes) if name in malignant])
    views = {ONE_VIEW: after[:, 0], EIGHT_VIEWS: after.mean(axis=1)}
    points = {
        name: [
            point._asdict()
            for point in operating_points(malignancy_scores(probabilities, classes, malignant), is_malignant)
        ]
        for name, probabilities in views.items()
    }
    return Fitted(
        temperature,
        calibration,
        points,
        reliability(before, labels, weights),
        reliability(after[:, 0], labels, weights),
    )
