"""Turn image files into what the models take: the records that prepare would make of them.

Pillow makes them in the threads that read the files, in about half of the processor time that the exported graph
needs. `serving_default` makes the same records inside the graph, bit for bit, so scores do not depend on the way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from pipelines.domain.model_info import ModelInfo
from pipelines.imaging import images
from pipelines.imaging.encoding import encode


class RecordForm(NamedTuple):
    """How an image becomes the `image/encoded` of a record."""

    image_size: int  # side of the square in pixels
    aspect: str  # one of `forms.ASPECTS`
    encoding: str  # one of `forms.ENCODINGS`


def form_of(model: ModelInfo) -> RecordForm:
    """Return the form of the records that a model was trained on."""
    return RecordForm(model.image_size, model.aspect, model.encoding)


def forms_of(models: Iterable[ModelInfo]) -> tuple[RecordForm, ...]:
    """Return the forms that the models take: each once, in the order of the models."""
    return tuple(dict.fromkeys(map(form_of, models)))


class ModelInput(NamedTuple):
    """One image as the models take it."""

    records: tuple[bytes, ...]  # `image/encoded` in each form of `forms_of`


def standardize(data: bytes, info: images.ImageInfo, forms: Iterable[RecordForm]) -> ModelInput:
    """Make the records of an image file.

    Args:
        data: An image file.
        info: What `images.read_info` says of it.
        forms: The forms of the records. Those that allow the same reduced decoding share it.

    Raises:
        BadImage: The file is damaged.
    """
    factors = {form: images.reduction(info.width, info.height, form.image_size, form.aspect) for form in forms}
    records: dict[RecordForm, bytes] = {}
    for factor in sorted(set(factors.values())):
        with images.decode_turn(info, factor):
            decoded = images.decode_image(data, factor)
            for form in factors:
                if factors[form] == factor:
                    pixels = np.asarray(images.fit(decoded, form.image_size, form.aspect))
                    # The record is decoded at once, so compressing it without loss would be a waste.
                    records[form] = encode(pixels, form.encoding, png_level=0)
    return ModelInput(tuple(records[form] for form in factors))
