"""The network: a small residual convolutional net.

A 3x3 stem with stride 2 and then stages of residual blocks; every stage halves the resolution and widens the
channels. One block is two convolutions with batch normalisation around an identity or 1x1 shortcut (He et al. 2016;
where the resolution changes the shortcut is pooled first, He et al. 2019), then squeeze-and-excitation (Hu et al.
2018) on the residual branch. The convolutions are 3x3, or separable (3x3 depthwise, 1x1 pointwise; Chollet 2017): a
seventh of the multiply-adds, of which a processor does fewer in a second. Head: global average pooling, dropout,
linear layer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from trainer.backbones import build_backbone
from trainer.batch_norm import BatchNormalization
from trainer.colour_constancy import ShadesOfGrey

# With Keras' default of 0.99 the moving statistics of a short run (a hundred steps) are still half their start values.
BATCH_NORM_MOMENTUM = 0.9


@dataclass(frozen=True)
class ModelConfig:
    """What determines the network's shape, apart from image size and number of classes.

    backbone: a network of keras.applications instead of the one above, of which then only dropout and colour constancy
    matter.
    colour_constancy: take the tint of the light out of each image first.
    pixel_mean, pixel_std: of the dataset's normalisation, in levels of 0 to 255; a backbone and colour constancy need
    them.
    block: the convolutions of a block, `separable` or `plain`.
    width: multiplier of all channel counts, which are then rounded to multiples of 8.
    depth: residual blocks per stage.
    dropout: rate before the last layer, 0 to below 1.
    normalisation: of batches; False leaves it out, for comparisons, and convolutions have biases instead.
    stem, channels: channels (at width 1) of the stem and of each stage.
    squeeze_excite: reduction ratio of the channel gates; 0 leaves them out.
    """

    backbone: str = ""
    colour_constancy: bool = False
    pixel_mean: tuple[float, ...] = ()
    pixel_std: tuple[float, ...] = ()
    block: str = "separable"
    width: float = 1.0
    depth: int = 2
    dropout: float = 0.2
    normalisation: bool = True
    stem: int = 32
    channels: tuple[int, ...] = (48, 96, 192, 288)
    squeeze_excite: int = 8

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` reads it back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """The inverse of `as_dict`; keys that are not fields are ignored."""
        known: dict[str, Any] = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        for name, value in known.items():
            known[name] = tuple(value) if isinstance(value, list) else value
        return cls(**known)


def scaled(channels: int, width: float) -> int:
    """`channels` times `width`, rounded to a multiple of 8 (what vector units like), at least 8."""
    return max(8, int(channels * width / 8 + 0.5) * 8)


class Dropout(layers.Dropout):
    """Keras' layer, drawing one mask for the global batch, of which each replica takes its rows.

    So a run draws the same however many replicas share it; Keras' own would use one mask on every replica.
    """

    def call(self, inputs, training=False):
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
    """Layers made inside compute in bfloat16 if `mixed`, which needs no scaling of the loss; weights stay float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if mixed else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def build_model(
    config: ModelConfig, image_size: int | None, classes: int, synchronized: bool = False, weights: str = ""
) -> keras.Model:
    """float32 [N, image_size, image_size, 3] normalised pixels -> float32 [N, classes] logits. None: of any size.

    synchronized: batch statistics over all replicas of the strategy. Without it each replica keeps moving statistics
    of its own. Initial weights follow the global Keras seed (`keras.utils.set_random_seed`), but for those of a
    backbone that `weights` says (see `trainer.backbones`).
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
    """The last feature map of our own network."""
    biased = not config.normalisation

    def normalise(x):
        return BatchNormalization(momentum=BATCH_NORM_MOMENTUM, synchronized=synchronized)(x) if not biased else x

    def convolution(x, channels: int, strides: int):
        if config.block == "plain":
            return normalise(layers.Conv2D(channels, 3, strides, padding="same", use_bias=biased)(x))
        x = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(x)
        return normalise(layers.Conv2D(channels, 1, use_bias=biased)(x))

    def gate(x, channels: int):
        hidden = max(8, channels // config.squeeze_excite)
        weights = layers.GlobalAveragePooling2D(keepdims=True)(x)
        weights = layers.Conv2D(hidden, 1, activation="relu")(weights)
        weights = layers.Conv2D(channels, 1, activation="sigmoid")(weights)
        return layers.Multiply()([x, weights])

    def block(x, channels: int, strides: int):
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
