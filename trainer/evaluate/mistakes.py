"""Find the images on which a model is most wrong, and draw them with maps of where it looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipelines.imaging.images import decode
from pipelines.imaging.previews import SIDE, overlay, small_jpeg
from trainer.evaluate.predictions import GroundTruth
from trainer.export.loaded_model import LoadedModel

# Maximum number of images of each kind.
SHOWN = 12


class MistakeKind(NamedTuple):
    """A kind of mistake."""

    name: str  # in evaluation.json
    title: str  # the heading
    order: str  # which images it includes, and what orders them


MISTAKE_KINDS = (
    MistakeKind("missed", "Missed malignancies", "malignant, called no malignant class: the lowest malignancy scores"),
    MistakeKind("false_alarms", "False alarms", "not malignant, called malignant: the highest malignancy scores"),
    MistakeKind("confident", "Most confident mistakes", "the highest probabilities of a wrong class"),
)


def worst_mistakes(
    truth: GroundTruth,
    probabilities: np.ndarray,
    predicted: np.ndarray,
    classes: Sequence[str],
    malignant: Sequence[str],
    *,
    partly_malignant: Sequence[str] = (),
    score: np.ndarray | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Find the worst mistakes of each of MISTAKE_KINDS, ready for JSON.

    At most SHOWN of each kind, the worst first, one image of each lesion. Ties keep the order of the images.

    Args:
        truth: n labelled images.
        probabilities: float [n, C].
        predicted: int [n], the predicted labels.
        classes: Class names in label order.
        malignant: The malignant classes.
        partly_malignant: The classes that hold malignant and other images: neither missed nor false alarms.
        score: float [n], the malignancy scores; if None, the sums of the probabilities of the malignant classes.

    Returns:
        The mistakes by the name of their kind.
    """
    malignant_labels = np.array([name in malignant for name in classes])
    other_labels = np.array([name not in {*malignant, *partly_malignant} for name in classes])
    probability = probabilities[np.arange(len(predicted)), predicted].astype(np.float64)
    if score is None:
        score = probabilities.astype(np.float64)[:, malignant_labels].sum(axis=1)
    # Kind -> which images it includes, and a value that is lowest for the worst of them.
    rules = {
        "missed": (malignant_labels[truth.labels] & other_labels[predicted], score),
        "false_alarms": (other_labels[truth.labels] & malignant_labels[predicted], -score),
        "confident": (predicted != truth.labels, -probability),
    }

    def entry(image: int) -> dict[str, Any]:
        return {
            "source_id": truth.source_id[image],
            "sha256": truth.sha256[image],
            "class": classes[truth.labels[image]],
            "predicted": classes[predicted[image]],
            "probability": float(probability[image]),
            "probability_of_class": float(probabilities[image, truth.labels[image]]),
            **({"malignancy_score": float(score[image])} if malignant_labels.any() else {}),
        }

    found = {}
    for kind in MISTAKE_KINDS:
        among, sort_key = rules[kind.name]
        order = np.flatnonzero(among)[np.argsort(sort_key[among], kind="stable")]
        # Photographs of one lesion look alike; a few lesions would fill the page.
        firsts: dict[str, int] = {}
        for image in order:
            firsts.setdefault(truth.group_id[image], int(image))
        found[kind.name] = [entry(image) for image in list(firsts.values())[:SHOWN]]
    return found


class MistakePictures(NamedTuple):
    """JPEGs that show one mistake, with sides of at most SIDE pixels."""

    image: bytes
    # The image under a heat map of the evidence for the predicted class; None if there is no map.
    map: bytes | None


def draw(
    mistakes: Mapping[str, Sequence[Mapping[str, Any]]],
    images: Mapping[str, bytes],
    encoding: str,
    size: int,
    classes: Sequence[str],
    network: LoadedModel | None,
) -> dict[str, MistakePictures]:
    """Draw the images that `worst_mistakes` names.

    The map is Grad-CAM (Selvaraju et al. 2017) of the predicted class. For a network that ends in a global mean and one
    linear layer, the gradients of a logit are the layer's weights over h x w, so Grad-CAM is the class activation map
    (Zhou et al. 2016) up to that factor, with negative values cut off.

    Args:
        mistakes: From `worst_mistakes`.
        images: `image/encoded` by sha256; images that are missing are not drawn.
        encoding: How the images are stored.
        size: The side of the square images, in pixels.
        classes: Class names in label order.
        network: Draws the maps. There are none if it is None or cannot draw maps.

    Returns:
        The pictures by sha256.
    """
    pictures: dict[str, MistakePictures] = {}
    for entry in (entry for entries in mistakes.values() for entry in entries):
        data = images.get(entry["sha256"])
        if data is None or entry["sha256"] in pictures:
            continue
        pixels = np.frombuffer(data, np.uint8).reshape(size, size, 3) if encoding == "raw" else decode(data)
        heat = None
        if network is not None and network.draws_maps:
            heat = network.activation(data)[:, :, list(classes).index(entry["predicted"])]
        pictures[entry["sha256"]] = MistakePictures(
            small_jpeg(pixels, SIDE), None if heat is None else small_jpeg(overlay(pixels, heat), SIDE)
        )
    return pictures
