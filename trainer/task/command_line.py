"""Parse the command line of `trainer.task` and check the options. Imports no TensorFlow."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import MISSING, fields

from pipelines.common.argument_parser import ArgumentParser
from pipelines.common.cli import UsageError
from trainer.config.options import TrainOptions, require_supported
from trainer.data.progressive_resizing import parse_progressive

# What `--help` shows.
_FIRST = (
    *("epochs", "batch_size", "learning_rate", "class_weights", "augment", "backbone", "weights", "fold", "patience"),
    *("strategy", "cache", "seed", "overwrite"),
)


def build_parser() -> ArgumentParser:
    """Return the parser of the options that `TrainOptions` declares."""
    parser = ArgumentParser(
        prog="python -m trainer.task",
        description="Train a lesion classifier on a prepared dataset and export it as a SavedModel.",
        epilog="Leaves OUTPUT/model (the weights of the epoch that --keep says, ready to score), train.json,\n"
        "history.json, logs/ (for TensorBoard) and checkpoints/.\n\nexample:\n  python -m trainer.task --dataset "
        "runs/dataset --output runs/train",
        first=_FIRST,
    )
    for spec in fields(TrainOptions):
        name, meta = f"--{spec.name}", spec.metadata
        if spec.default is MISSING:
            parser.add_argument(name, required=True, metavar="DIR", help=meta["help"])
        elif isinstance(spec.default, bool):
            # Adds --no-NAME, so that the command line can switch off what a recipe switches on.
            parser.add_argument(name, action=argparse.BooleanOptionalAction, default=spec.default, help=meta["help"])
        elif meta["choices"]:
            parser.add_argument(name, choices=meta["choices"], default=spec.default, help=meta["help"])
        else:
            kind = meta["metavar"] or ("N" if isinstance(spec.default, int) else "X")
            parser.add_argument(name, type=meta["parse"], default=spec.default, metavar=kind, help=meta["help"])
    return parser


def parse_options(argv: Sequence[str] | None) -> TrainOptions:
    """Return the options of a command line.

    Args:
        argv: Command-line arguments; None: `sys.argv[1:]`.

    Raises:
        UsageError: If an option is wrong or does not fit another; the message names it, its value and a remedy.
    """
    options = TrainOptions(**vars(build_parser().parse_args(argv)))
    for name in ("dataset", "output", "cache"):
        value = getattr(options, name)
        if not value:
            raise UsageError(f"--{name} is empty: give a directory")
        if name == "cache" and "://" in value:
            raise UsageError(f"--cache {value}: only local directories work here; give one on a disk of this machine")
        require_supported(f"--{name}", value)
    if options.batch_size % options.accumulate:
        raise UsageError(
            f"--accumulate {options.accumulate} does not divide --batch_size {options.batch_size}: give a divisor of it"
        )
    try:
        parse_progressive(options.progressive)
    except ValueError as error:
        raise UsageError(f"--progressive {options.progressive}: {error}") from None
    if options.weights and not options.backbone:
        raise UsageError(f"--weights {options.weights}: goes with --backbone NAME")
    if options.weights not in ("", "imagenet") and not os.path.isfile(options.weights):
        raise UsageError(f"--weights {options.weights}: no such file; give a file of weights, or imagenet to download")
    if options.mix != "none" and options.batch_size % (2 * options.accumulate):
        raise UsageError(
            f"--mix {options.mix} pairs the images of a batch: --batch_size {options.batch_size} must be a multiple "
            f"of {2 * options.accumulate}"
        )
    if options.strategy == "tpu" and not options.tpu:
        raise UsageError("--strategy tpu: say which with --tpu NAME (local on a TPU VM)")
    if options.tpu and options.strategy not in ("tpu", "auto"):
        raise UsageError(f"--tpu {options.tpu} goes with --strategy tpu, not with --strategy {options.strategy}")
    return options
