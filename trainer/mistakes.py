"""The images on which a model is most wrong, to be looked at, and pictures of where it looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipelines.images import decode
from pipelines.previews import small_jpeg
from pipelines.triage_pictures import SIDE, overlay
from trainer.exported import LoadedModel
from trainer.predictions import Truth

# Images of each kind.
SHOWN = 12


class Kind(NamedTuple):
    """A kind of mistake: its name in evaluation.json, a heading, and what orders it."""

    name: str
    title: str
    order: str


KINDS = (
    Kind("missed", "Missed malignancies", "malignant, called no malignant class: the lowest malignancy scores"),
    Kind("false_alarms", "False alarms", "not malignant, called malignant: the highest malignancy scores"),
    Kind("confident", "Most confident mistakes", "the highest probabilities of a wrong class"),
)


def worst_mistakes(
    truth: Truth, probabilities: np.ndarray, predicted: np.ndarray, classes: Sequence[str], malignant: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Of each of KINDS at most SHOWN images, the worst first, one of each lesion; ready for JSON.

    predicted: int [n], the label that each image is said to have. Its malignancy score is the sum of the
    probabilities of the `malignant` classes. Ties are in the order of the images.
    """
    chosen = np.array([name in set(malignant) for name in classes])
    top = predicted
    probability = probabilities[np.arange(len(top)), top].astype(np.float64)
    score = probabilities.astype(np.float64)[:, chosen].sum(axis=1)
    is_malignant, called_malignant = chosen[truth.labels], chosen[top]
    # Which images are of a kind, and what the worst of them have least of.
    rules = {
        "missed": (is_malignant & ~called_malignant, score),
        "false_alarms": (~is_malignant & called_malignant, -score),
        "confident": (top != truth.labels, -probability),
    }

    def entry(image: int) -> dict[str, Any]:
        return {
            "source_id": truth.source_id[image],
            "sha256": truth.sha256[image],
            "class": classes[truth.labels[image]],
            "predicted": classes[top[image]],
            "probability": float(probability[image]),
            "probability_of_class": float(probabilities[image, truth.labels[image]]),
            **({"malignancy_score": float(score[image])} if chosen.any() else {}),
        }

    found = {}
    for kind in KINDS:
        among, badness = rules[kind.name]
        order = np.flatnonzero(among)[np.argsort(badness[among], kind="stable")]
        # Photographs of one lesion look alike and would fill the sheet.
        firsts: dict[str, int] = {}
        for image in order:
            firsts.setdefault(truth.group_id[image], int(image))
        found[kind.name] = [entry(image) for image in list(firsts.values())[:SHOWN]]
    return found


class Pictures(NamedTuple):
    """JPEGs of at most SIDE pixels. map: the picture with heat where the evidence for the predicted class lies."""

    image: bytes
    map: bytes | None


def draw(
    mistakes: Mapping[str, Sequence[Mapping[str, Any]]],
    images: Mapping[str, bytes],
    encoding: str,
    size: int,
    classes: Sequence[str],
    network: LoadedModel | None,
) -> dict[str, Pictures]:
    """Pictures of the images that `worst_mistakes` names, by their sha256.

    images: `image/encoded` by sha256, stored as `encoding`, squares of `size` pixels. The map is Grad-CAM (Selvaraju et
    al. 2017) of the predicted class: for a network that ends in a global mean and one linear layer, the gradients of
    a logit are the layer's weights over h x w, so Grad-CAM is the class activation map (Zhou et al. 2016) up to that
    factor, with negative values cut off. None without a network that makes such maps.
    """
    pictures: dict[str, Pictures] = {}
    for entry in (entry for entries in mistakes.values() for entry in entries):
        data = images.get(entry["sha256"])
        if data is None or entry["sha256"] in pictures:
            continue
        pixels = np.frombuffer(data, np.uint8).reshape(size, size, 3) if encoding == "raw" else decode(data)
        heat = None
        if network is not None and network.draws_maps:
            heat = network.activation(data)[:, :, list(classes).index(entry["predicted"])]
        pictures[entry["sha256"]] = Pictures(
            small_jpeg(pixels, SIDE), None if heat is None else small_jpeg(overlay(pixels, heat), SIDE)
        )
    return pictures
