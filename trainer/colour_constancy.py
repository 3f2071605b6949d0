"""Colour constancy: the tint of the light is estimated from each image and divided out, inside the network.

Shades of grey (Finlayson and Trezzi 2004) with the 6-norm, as proposed for dermoscopy by Barata et al. (2015).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from keras import layers, ops

NORM = 6
# Below one level in 255 a channel is black: of such an image the light cannot be told.
_DARKEST = 1.0


class ShadesOfGrey(layers.Layer):
    """float32 [N, H, W, 3] normalised pixels -> the same, as under white light of the same strength.

    mean, std: of the normalisation, in levels of 0 to 255 by channel. The light is the 6-norm over an image's pixels;
    every channel is scaled so that it is the same in all three. Computes in float32: sixth powers overflow and lose
    digits in less.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self._mean = tuple(float(value) for value in mean)
        self._std = tuple(float(value) for value in std)

    def call(self, inputs):
        mean, std = (np.asarray(values, np.float32) for values in (self._mean, self._std))
        # What augmentation has darkened below black is black.
        pixels = ops.maximum(inputs * std + mean, 0.0)
        powers = ops.mean((pixels / 255.0) ** NORM, axis=(1, 2), keepdims=True)
        light = ops.maximum(255.0 * powers ** (1.0 / NORM), _DARKEST)
        gain = ops.mean(light, axis=-1, keepdims=True) / light
        return (pixels * gain - mean) / std

    def compute_output_shape(self, input_shape):
        return input_shape
