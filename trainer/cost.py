"""Computing cost of a network in multiply-adds."""

from __future__ import annotations

import math

import keras


def multiply_adds(model: keras.Model) -> int:
    """Count the multiply-adds of convolutions and linear layers for one image.

    Args:
        model: Network, built for images of a fixed size.
    """
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += multiply_adds(layer)
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            total += math.prod(layer.output.shape[1:]) * math.prod(layer.kernel_size)
        elif isinstance(layer, keras.layers.SeparableConv2D):
            *_, filters = layer.output.shape
            kernels = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
            total += math.prod(layer.output.shape[1:]) // filters * kernels
        elif isinstance(layer, keras.layers.Conv2D):
            total += math.prod(layer.output.shape[1:]) * math.prod(layer.kernel.shape[:3])
        elif isinstance(layer, keras.layers.Dense):
            total += math.prod(layer.kernel.shape)
    return total
