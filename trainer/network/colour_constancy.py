"""Colour constancy: estimate the tint of the light in each image and divide it out, inside the network.

Shades of grey (Finlayson and Trezzi 2004) with the 6-norm, as proposed for dermoscopy by Barata et al. (2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import KerasTensor, layers, ops

NORM = 6
# Below one level of 255 a channel is black, and the light of the image cannot be estimated.
_DARKEST = 1.0


class ShadesOfGrey(layers.Layer):
    """Layer that shows images as under white light of the same strength.

    The light is the 6-norm over the pixels of an image. Every channel is scaled so that the light is the same in all
    three. The layer computes in float32: in lower precision, sixth powers overflow and lose digits.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], **kwargs: Any):
        """Make the layer.

        Args:
            mean: Mean of the normalisation by channel, in levels of 0 to 255.
            std: Standard deviation of the normalisation by channel, in levels of 0 to 255.
            **kwargs: Arguments of keras.layers.Layer; `dtype` is ignored.
        """
        super().__init__(**{**kwargs, "dtype": "float32"})
        self._mean = tuple(float(value) for value in mean)
        self._std = tuple(float(value) for value in std)

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Return corrected images for normalised pixels, both float32 [N, H, W, 3]."""
        mean, std = (np.asarray(values, np.float32) for values in (self._mean, self._std))
        # Augmentation may have darkened pixels below black.
        pixels = ops.maximum(inputs * std + mean, 0.0)
        powers = ops.mean((pixels / 255.0) ** NORM, axis=(1, 2), keepdims=True)
        light = ops.maximum(255.0 * powers ** (1.0 / NORM), _DARKEST)
        gain = ops.mean(light, axis=-1, keepdims=True) / light
        return (pixels * gain - mean) / std

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input shape, which the layer does not change."""
        return input_shape
