"""Networks of keras.applications as the convolutional part, for transfer learning.

Their weights come from a file, and are downloaded only if that is asked for. They see the pixels that they were trained
on: the dataset's normalisation is taken back inside the network, and the network's own is applied.
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

from pipelines.cli import UsageError, first_line
from trainer.batch_norm import BatchNormalization

# What `--weights` says to have Keras download its own.
DOWNLOAD = "imagenet"

# Of the first EfficientNets, B0 to B7, Keras divides the normalised pixels once more when it loads its own weights, and
# only then (keras/src/applications/efficientnet.py): the stem was trained on (pixel - mean) / deviation ** 1.5.
_DIVIDED_TWICE = re.compile(r"EfficientNetB\d")
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
# Their graph is cut to the size of the images, which changes while the network is trained.
_OF_ONE_SIZE = ("NASNetLarge", "NASNetMobile")


def _families() -> dict[str, tuple[Callable[..., keras.Model], Callable]]:
    """Name of each network in keras.applications -> what builds it, and what prepares its pixels (0 to 255)."""
    found: dict[str, tuple[Callable[..., keras.Model], Callable]] = {}
    for name, build in vars(keras.applications).items():
        # Each stands in a module of its family, which has the preparation.
        family = getattr(keras.applications, getattr(build, "__module__", "").rpartition(".")[2], None)
        prepare = getattr(family, "preprocess_input", None)
        if inspect.isfunction(build) and prepare and name not in _OF_ONE_SIZE:
            found[name] = (build, prepare)
    return found


def check_backbone(name: str) -> None:
    """Raise UsageError unless keras.applications has a network of that name."""
    known = _families()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or sorted(known)
        lacks = (
            "can be trained on one size of images only" if name in _OF_ONE_SIZE else "no network of keras.applications"
        )
        raise UsageError(f"--backbone {name}: {lacks}; give for example {', '.join(near)}")


def check_fits(name: str, image_size: int, weights: str) -> None:
    """Raise UsageError unless the network can be built for images of this size, and with these weights.

    weights: as for `build_backbone`.
    """
    for chosen in ("", weights) if weights else ("",):
        build_backbone(name, image_size, chosen, (0.0,) * 3, (1.0,) * 3, False)


def build_backbone(
    name: str, image_size: int | None, weights: str, mean: Sequence[float], std: Sequence[float], synchronized: bool
) -> Callable[[keras.KerasTensor], keras.KerasTensor]:
    """float32 [N, S, S, 3] normalised pixels -> the network's last feature map [N, h, w, K].

    weights: a file that Keras wrote for this network without its top, `imagenet` to download Keras' own, or empty for
    random ones. mean, std [3]: of the normalisation, in levels of 0 to 255. UsageError for weights or a size that
    do not fit.
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
        # Without the layer that Keras adds for its own weights.
        network = build(include_top=False, weights=None, input_shape=(image_size, image_size, 3))
    cloned = keras.models.clone_model(network, clone_function=lambda layer: _own(layer, synchronized, divided))
    cloned.set_weights(learnt)
    denormalise = layers.Normalization(mean=np.asarray(mean), variance=np.square(std), invert=True)
    return lambda pixels: cloned(prepare(denormalise(pixels)))


class _DividedTwice(layers.Normalization):
    """Normalised pixels, divided by the square root of ImageNet's deviations."""

    def call(self, inputs):
        pixels = super().call(inputs)
        return pixels / keras.ops.convert_to_tensor(np.sqrt(_IMAGENET_DEVIATION), pixels.dtype)


def _own(layer: layers.Layer, synchronized: bool, divided: bool) -> layers.Layer:
    """The layer again, batch normalisation as ours: fast, repeatable, and over all replicas where there are several.

    divided: of one of the first EfficientNets.
    """
    config = layer.get_config()
    if divided and type(layer) is layers.Normalization:
        return _DividedTwice.from_config(config)
    if type(layer) is layers.BatchNormalization and layer.scale and layer.center:
        return BatchNormalization.from_config({**config, "synchronized": synchronized})
    return layer.__class__.from_config(config)
