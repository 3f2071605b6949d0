"""Options of `trainer.task`, declared once with their units, limits and defaults. Imports no TensorFlow."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, TypeVar

from pipelines.common.cli import UsageError
from pipelines.common.gcs_client import is_gs

Number = TypeVar("Number", int, float)


_REMOTE = "only local directories and gs://BUCKET/FOLDER work here; copy it there, or mount it and give the directory"


def number(
    kind: Callable[[str], Number], low: float, high: float = math.inf, below: bool = False
) -> Callable[[str], Number]:
    """Return a parser for finite numbers within limits.

    Args:
        kind: `int` or `float`.
        low: Smallest accepted value.
        high: Largest accepted value; infinity: no limit.
        below: Exclude `high` itself.

    Returns:
        A function for argparse's `type`, which raises ArgumentTypeError for anything else.
    """

    def parse(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is not {'an integer' if kind is int else 'a number'}") from None
        inside = low <= value < high if below else low <= value <= high
        if not (inside and math.isfinite(value)):
            limits = f"{low:g} or more" if high == math.inf else f"from {low:g} to {'below ' if below else ''}{high:g}"
            raise argparse.ArgumentTypeError(f"{text} is out of range: give {limits}")
        return value

    return parse


def option(
    default: Any = MISSING,
    *,
    help: str,
    parse: Callable[[str], Any] = str,
    choices: Sequence[str] = (),
    metavar: str | None = None,
    resume: bool = True,
) -> Any:
    """Return a dataclass field that is also a command-line option.

    Args:
        default: Value without the option; if left out, the option is required.
        help: Help text, which also documents the field.
        parse: Converts the text of the command line to a value.
        choices: Accepted values; empty: whatever `parse` accepts.
        metavar: Placeholder in the help text; None: `N` for integers, `X` for other values.
        resume: Whether a run can only be continued with the same value, because the value decides what the run
            computes.
    """
    return field(
        default=default,
        metadata={"help": help, "parse": parse, "choices": choices, "metavar": metavar, "resume": resume},
    )


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of one training run; the help text of each field documents it."""

    dataset: str = option(
        help="prepared dataset: the --output of pipelines.prepare; of one on gs://, what is needed is copied to "
        "--cache DIR, by default in ~/.cache",
        resume=False,
    )
    output: str = option(
        help="directory to write, or a folder on gs://; an interrupted run found there is continued if the options are "
        "the same",
        resume=False,
    )
    epochs: int = option(40, parse=number(int, 1), help="passes over the train split")
    batch_size: int = option(32, parse=number(int, 2), help="images per step, over all replicas together")
    learning_rate: float = option(
        2e-3,
        parse=number(float, 1e-8),
        help="highest learning rate, reached after the warm-up; then half a cosine to 0",
    )
    warmup: float = option(
        0.1,
        parse=number(float, 0, 1, below=True),
        help="share of all steps in which the learning rate rises linearly from 0",
    )
    weight_decay: float = option(
        0.02, parse=number(float, 0), help="AdamW decay of kernels per step, times the learning rate"
    )
    clip_norm: float = option(
        1.0, parse=number(float, 0), help="longest gradient (global L2 norm); longer ones are scaled down; 0: never"
    )
    label_smoothing: float = option(
        0.05,
        parse=number(float, 0, 1, below=True),
        help="share of the target probability spread over the classes: evenly, with --loss balanced_softmax in "
        "proportion to their frequencies",
    )
    loss: str = option(
        "cross_entropy",
        choices=("cross_entropy", "balanced_softmax", "focal"),
        help="balanced_softmax: cross-entropy with the classes' frequencies taken out of the logits, for balanced "
        "accuracy on unbalanced data; focal: with gamma 2",
    )
    class_weights: str = option(
        "none",
        choices=("none", "balanced"),
        help="balanced: examples count inversely to how frequent their class is in the train split",
    )
    augment: str = option(
        "standard",
        choices=("standard", "none"),
        help="random flips, turns, zoom and colour, drawn anew for every image and epoch; none: images as stored",
    )
    progressive: str = option(
        "",
        metavar="SIZE:SHARE,...",
        help="train on smaller images first; 64:0.6,96:0.85: on 64 px for the first 60 %% of the epochs, on 96 px up "
        "to 85 %%, then on the dataset's size, in whose epochs the best one is looked for; 1/2:0.6: half its size",
    )
    mix: str = option(
        "none",
        choices=("none", "mixup", "cutmix"),
        help="train on pairs of images: mixup adds them, cutmix pastes a square of one into the other",
    )
    mix_alpha: float = option(
        0.4, parse=number(float, 0.01, 100), help="how evenly pairs are mixed: shares are drawn from Beta(X, X)"
    )
    colour_constancy: bool = option(
        False, help="take the tint of the light out of each image, as shades of grey: part of the network"
    )
    backbone: str = option(
        "",
        metavar="NAME",
        help="a network of keras.applications, such as EfficientNetV2B0, in place of ours",
    )
    weights: str = option(
        "",
        metavar="FILE|imagenet",
        help="initial weights of the backbone: a file written by Keras for it without its top, or imagenet to download "
        "Keras' own; without it training starts from random ones",
    )
    block: str = option(
        "separable",
        choices=("separable", "plain"),
        help="convolutions of the network's blocks; plain ones have some seven times the multiply-adds and parameters",
    )
    width: float = option(1.0, parse=number(float, 0.1, 8), help="multiplier of the network's channels")
    squeeze_excite: int = option(
        8, parse=number(int, 0, 64), help="reduction ratio of the blocks' channel gates; 0: without them"
    )
    depth: int = option(2, parse=number(int, 1, 8), help="residual blocks in each of the network's stages")
    dropout: float = option(0.2, parse=number(float, 0, 1, below=True), help="rate of dropout before the last layer")
    batch_norm: bool = option(True, help="batch normalisation; without it, for comparisons")
    average: float = option(
        0.0,
        parse=number(float, 0, 1, below=True),
        help="decay per step of a moving average of the weights, which is then what is validated and exported; 0: none",
    )
    keep: str = option(
        "best",
        choices=("best", "last"),
        help="epoch that is exported: the one with the best validation balanced accuracy, or the last; with last, the "
        "validation figures come from images that had no say in the choice",
    )
    fold: int = option(
        -1,
        parse=number(int, -1),
        help="cross-validation on a dataset prepared with folds: validate on this one, train on the others; -1: the "
        "validation split",
    )
    patience: int = option(
        15,
        parse=number(int, 0),
        help="stop after so many epochs without a better validation balanced accuracy, counted from the first on "
        "images of full size; 0: never",
    )
    strategy: str = option(
        "auto",
        choices=("auto", "one_device", "mirrored", "multi_worker", "tpu"),
        help="tf.distribute strategy; auto: multi_worker if TF_CONFIG names several workers, tpu if --tpu is given, "
        "mirrored on a machine with several GPUs, else one_device",
    )
    tpu: str = option(
        "", metavar="NAME", help="TPU to train on: its name or grpc:// address, or local on a TPU VM", resume=False
    )
    peer_timeout: float = option(
        300.0,
        parse=number(float, 1, 86400),
        help="seconds to wait for the other workers of TF_CONFIG to start",
        resume=False,
    )
    accumulate: int = option(
        1,
        parse=number(int, 1, 1024),
        help="compute each batch in so many parts, one after another: less memory, the same gradient",
    )
    mixed_precision: bool = option(
        False,
        help="compute in bfloat16, keep weights in float32: for GPUs from Ampere on, TPUs, and CPUs with AVX-512 BF16 "
        "or AMX; slower on others",
    )
    jit: bool = option(False, help="compile the train step with XLA: for one GPU; several times slower on CPUs")
    cache: str = option(
        "none",
        metavar="none|memory|DIR",
        help="where examples are read from again and again; none: the dataset itself (for local disks); memory: "
        "all encoded examples in memory; DIR: copies of the shards there (for slow or remote storage)",
        resume=False,
    )
    checkpoint_steps: int = option(
        500,
        parse=number(int, 0),
        help="save after so many steps, besides the end of each epoch; 0: only then",
        resume=False,
    )
    seed: int = option(0, parse=number(int, 0, 2**31 - 1), help="of initial weights, order, augmentation and dropout")
    deterministic: bool = option(
        True, help="same options, data, machine type and thread count give the same weights, bit for bit"
    )
    threads: int = option(0, parse=number(int, 0, 1024), help="TensorFlow's CPU threads; 0: one per available core")
    overwrite: bool = option(
        False, help="delete an earlier run in --output (only what this program wrote) and start again", resume=False
    )

    def as_dict(self) -> dict[str, Any]:
        """Return the options as a JSON-ready dict, in the order of declaration."""
        return asdict(self)


def first_difference(options: TrainOptions, earlier: dict[str, Any]) -> tuple[str, Any, Any] | None:
    """Return the first option that forbids continuing an earlier run.

    Args:
        options: Options of this run.
        earlier: Options of the earlier run, as `TrainOptions.as_dict` gave them.

    Returns:
        (name, earlier value, current value), or None if the run can be continued.
    """
    for spec in fields(options):
        now = getattr(options, spec.name)
        if spec.metadata["resume"] and earlier.get(spec.name) != now:
            return spec.name, earlier.get(spec.name), now
    return None


def same_everywhere(options: TrainOptions) -> dict[str, Any]:
    """Return the options that every worker of a run must be given alike, name -> value."""
    return {spec.name: getattr(options, spec.name) for spec in fields(options) if spec.metadata["resume"]}


def require_supported(option: str, path: str) -> None:
    """Raise UsageError if the trainer cannot read and write the filesystem of a path.

    Args:
        option: Name of the option with its dashes, for the message.
        path: Local path or URL.

    Raises:
        UsageError: If `path` is a URL other than gs://.
    """
    if "://" in path and not is_gs(path):
        raise UsageError(f"{option} {path}: {_REMOTE}")
