"""The network: a small residual convolutional net.

A 3x3 stem with stride 2 is followed by stages of residual blocks; every stage halves the resolution and widens the
channels. A block is two convolutions with batch normalisation around an identity or 1x1 shortcut (He et al. 2016; where
the resolution changes, the shortcut is pooled first, He et al. 2019), with squeeze-and-excitation (Hu et al. 2018) on
the residual branch. The convolutions are either 3x3 or separable (3x3 depthwise, 1x1 pointwise; Chollet 2017).
Separable ones take a seventh of the multiply-adds, of which a processor does fewer per second. Head: global average
pooling, dropout, linear layer.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from trainer.network.backbones import build_backbone
from trainer.network.batch_norm import BatchNormalization
from trainer.network.colour_constancy import ShadesOfGrey

# With Keras' default of 0.99, start values still make up half of the moving statistics after a short run (a hundred
# steps).
BATCH_NORM_MOMENTUM = 0.9


@dataclass(frozen=True)
class ModelConfig:
    """Everything that determines the shape of the network, except image size and number of classes."""

    # A network of keras.applications in place of ours; of the rest, only dropout and colour constancy then matter.
    backbone: str = ""
    colour_constancy: bool = False  # remove the tint of the light from each image first
    # Of the dataset's normalisation, in levels of 0 to 255; a backbone and colour constancy need them.
    pixel_mean: tuple[float, ...] = ()
    pixel_std: tuple[float, ...] = ()
    block: str = "separable"  # convolutions of a block, `separable` or `plain`
    width: float = 1.0  # multiplier of all channel counts, which are then rounded to multiples of 8
    depth: int = 2  # residual blocks per stage
    dropout: float = 0.2  # rate before the last layer, from 0 to below 1
    normalisation: bool = True  # of batches; False, for comparisons: convolutions have biases instead
    stem: int = 32  # channels of the stem, at width 1
    channels: tuple[int, ...] = (48, 96, 192, 288)  # of each stage, at width 1
    squeeze_excite: int = 8  # reduction ratio of the channel gates; 0: no gates

    def as_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-ready dict."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def scaled(channels: int, width: float) -> int:
    """Return `channels` times `width`, rounded to a multiple of 8 (what vector units like), at least 8."""
    return max(8, int(channels * width / 8 + 0.5) * 8)


class Dropout(layers.Dropout):
    """Keras' layer with one mask for the global batch, of which each replica takes its rows.

    So the masks of a run do not depend on the number of replicas; Keras' own layer would use one mask on every replica.
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return the inputs, float [N, K], with dropped elements set to 0 and the others scaled up in training."""
        if not training or not self.rate:
            return inputs
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync if context else 1
        replica = context.replica_id_in_sync_group if context else 0
        rows = tf.shape(inputs)[0]
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        drawn = tf.random.stateless_uniform([rows * replicas, inputs.shape[-1]], seed)
        kept = drawn[replica * rows : (replica + 1) * rows] >= self.rate
        return inputs * tf.cast(kept, inputs.dtype) * (1.0 / (1.0 - self.rate))


@contextlib.contextmanager
def precision(mixed: bool) -> Iterator[None]:
    """Make layers created inside compute in bfloat16 if `mixed`, else in float32.

    Weights stay float32. bfloat16 needs no scaling of the loss.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if mixed else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def build_model(
    config: ModelConfig, image_size: int | None, classes: int, synchronized: bool = False, weights: str = ""
) -> keras.Model:
    """Return the network: normalised pixels -> logits.

    Its input is float32 [N, image_size, image_size, 3], its output float32 [N, classes]. Initial weights follow the
    global Keras seed (`keras.utils.set_random_seed`), except those of a backbone that come from `weights`.

    Args:
        config: Configuration of the network.
        image_size: Side of the images in pixels; None: any size.
        classes: Number of classes.
        synchronized: Compute batch statistics over all replicas of the strategy; otherwise each replica keeps its own
            moving statistics.
        weights: Initial weights of the backbone (see `trainer.network.backbones`); empty: random ones.
    """
    inputs = keras.Input((image_size, image_size, 3), dtype="float32", name="image")
    pixels = inputs
    if config.colour_constancy:
        pixels = ShadesOfGrey(config.pixel_mean, config.pixel_std, name="colour_constancy")(pixels)
    if config.backbone:
        features = build_backbone(
            config.backbone, image_size, weights, config.pixel_mean, config.pixel_std, synchronized
        )(pixels)
    else:
        features = lesion_features(config, pixels, synchronized)
    x = layers.GlobalAveragePooling2D()(features)
    x = Dropout(config.dropout)(x)
    logits = layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="lesion_net")


def lesion_features(config: ModelConfig, inputs: keras.KerasTensor, synchronized: bool) -> keras.KerasTensor:
    """Return the last feature map of our own network, [N, h, w, K].

    Args:
        config: Configuration of the network.
        inputs: float32 [N, S, S, 3], normalised pixels.
        synchronized: See `build_model`.
    """
    biased = not config.normalisation

    def normalise(x: keras.KerasTensor) -> keras.KerasTensor:
        return BatchNormalization(momentum=BATCH_NORM_MOMENTUM, synchronized=synchronized)(x) if not biased else x

    def convolution(x: keras.KerasTensor, channels: int, strides: int) -> keras.KerasTensor:
        if config.block == "plain":
            return normalise(layers.Conv2D(channels, 3, strides, padding="same", use_bias=biased)(x))
        x = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(x)
        return normalise(layers.Conv2D(channels, 1, use_bias=biased)(x))

    def gate(x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
        hidden = max(8, channels // config.squeeze_excite)
        weights = layers.GlobalAveragePooling2D(keepdims=True)(x)
        weights = layers.Conv2D(hidden, 1, activation="relu")(weights)
        weights = layers.Conv2D(channels, 1, activation="sigmoid")(weights)
        return layers.Multiply()([x, weights])

    def block(x: keras.KerasTensor, channels: int, strides: int) -> keras.KerasTensor:
        shortcut = x
        if strides != 1:
            shortcut = layers.AveragePooling2D(strides, padding="same")(shortcut)
        if x.shape[-1] != channels:
            shortcut = normalise(layers.Conv2D(channels, 1, use_bias=biased)(shortcut))
        x = layers.ReLU()(convolution(x, channels, strides))
        x = convolution(x, channels, 1)
        if config.squeeze_excite:
            x = gate(x, channels)
        return layers.ReLU()(layers.Add()([x, shortcut]))

    x = layers.Conv2D(scaled(config.stem, config.width), 3, 2, padding="same", use_bias=biased)(inputs)
    x = layers.ReLU()(normalise(x))
    for channels in config.channels:
        for index in range(config.depth):
            x = block(x, scaled(channels, config.width), strides=2 if index == 0 else 1)
    return x


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
