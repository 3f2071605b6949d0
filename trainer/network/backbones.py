"""Networks of keras.applications as the convolutional part, for transfer learning.

Their weights come from a file, and are downloaded only on request. They see the pixels they were trained on: inside the
network the dataset's normalisation is undone and the network's own is applied.
"""

from __future__ import annotations

import difflib
import inspect
import re
import zipfile
from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import layers

from pipelines.common.cli import UsageError, first_line
from trainer.network.batch_norm import BatchNormalization

# Value of `--weights` for which Keras downloads its own.
DOWNLOAD = "imagenet"


# The first EfficientNets, B0 to B7: Keras divides their normalised pixels once more when it loads its own weights, and
# only then (keras/src/applications/efficientnet.py). The stem was trained on (pixel - mean) / deviation ** 1.5.
_DIVIDED_TWICE = re.compile(r"EfficientNetB\d")
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
# Their graph depends on the size of the images, which may change during training.
_OF_ONE_SIZE = ("NASNetLarge", "NASNetMobile")


def _families() -> dict[str, tuple[Callable[..., keras.Model], Callable]]:
    """Return the networks of keras.applications that can be used.

    Returns:
        Name -> function that builds the network, and function that prepares its pixels (0 to 255).
    """
    found: dict[str, tuple[Callable[..., keras.Model], Callable]] = {}
    for name, build in vars(keras.applications).items():
        # The module of a network's family has the function that prepares its pixels.
        family = getattr(keras.applications, getattr(build, "__module__", "").rpartition(".")[2], None)
        prepare = getattr(family, "preprocess_input", None)
        if inspect.isfunction(build) and prepare and name not in _OF_ONE_SIZE:
            found[name] = (build, prepare)
    return found


def check_backbone(name: str) -> None:
    """Raise UsageError unless keras.applications has a network of this name.

    Raises:
        UsageError: If there is no such network, or it can be trained on one size of images only.
    """
    known = _families()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or sorted(known)
        lacks = (
            "can be trained on one size of images only" if name in _OF_ONE_SIZE else "no network of keras.applications"
        )
        raise UsageError(f"--backbone {name}: {lacks}; give for example {', '.join(near)}")


def check_fits(name: str, image_size: int, weights: str) -> None:
    """Raise UsageError unless the network can be built for images of this size and with these weights.

    Args:
        name: Name of the network.
        image_size: Side of the images in pixels.
        weights: See `build_backbone`.

    Raises:
        UsageError: If the size or the weights do not fit.
    """
    for chosen in ("", weights) if weights else ("",):
        build_backbone(name, image_size, chosen, (0.0,) * 3, (1.0,) * 3, False)


def build_backbone(
    name: str, image_size: int | None, weights: str, mean: Sequence[float], std: Sequence[float], synchronized: bool
) -> Callable[[keras.KerasTensor], keras.KerasTensor]:
    """Return a function: float32 [N, S, S, 3] normalised pixels -> the network's last feature map [N, h, w, K].

    Args:
        name: Name of the network.
        image_size: Side of the images in pixels; None: any size.
        weights: A file that Keras wrote for this network without its top; `imagenet` to download Keras' own; empty for
            random ones.
        mean: [3], mean of the dataset's normalisation, in levels of 0 to 255.
        std: [3], standard deviation of the dataset's normalisation, in levels of 0 to 255.
        synchronized: Compute batch statistics over all replicas.

    Raises:
        UsageError: If the weights or the size do not fit, or the weights cannot be downloaded.
    """
    build, prepare = _families()[name]
    try:
        network = build(include_top=False, weights=weights or None, input_shape=(image_size, image_size, 3))
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = first_line(error)
        if not weights:
            raise UsageError(
                f"--backbone {name}: cannot be built for images of {image_size} px ({reason}); give another network, "
                "or larger images"
            ) from None
        way_out = f"give a file of weights for {name} without its top, or {DOWNLOAD} where the network may be asked"
        raise UsageError(f"--weights {weights}: cannot be used for --backbone {name} ({reason}); {way_out}") from None
    except Exception as error:
        if weights != DOWNLOAD:
            raise
        raise UsageError(f"--weights {DOWNLOAD}: cannot be downloaded ({error}); give a file") from None
    learnt = network.get_weights()
    divided = _DIVIDED_TWICE.fullmatch(name) is not None
    if divided and weights == DOWNLOAD:
        # Rebuild it without the layer that Keras adds for its own weights.
        network = build(include_top=False, weights=None, input_shape=(image_size, image_size, 3))
    cloned = keras.models.clone_model(network, clone_function=lambda layer: _own(layer, synchronized, divided))
    cloned.set_weights(learnt)
    denormalise = layers.Normalization(mean=np.asarray(mean), variance=np.square(std), invert=True)
    return lambda pixels: cloned(prepare(denormalise(pixels)))


class _DividedTwice(layers.Normalization):
    """Normalisation that also divides by the square root of ImageNet's deviations."""

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        pixels = super().call(inputs)
        return pixels / keras.ops.convert_to_tensor(np.sqrt(_IMAGENET_DEVIATION), pixels.dtype)


def _own(layer: layers.Layer, synchronized: bool, divided: bool) -> layers.Layer:
    """Return a copy of the layer, with our batch normalisation in place of Keras'.

    Ours is fast, repeatable, and over all replicas if there are several. `divided`: the layer belongs to one of the
    first EfficientNets.
    """
    config = layer.get_config()
    if divided and type(layer) is layers.Normalization:
        return _DividedTwice.from_config(config)
    if type(layer) is layers.BatchNormalization and layer.scale and layer.center:
        return BatchNormalization.from_config({**config, "synchronized": synchronized})
    return layer.__class__.from_config(config)
