"""Command-line options of `trainer.experiment`, and the checks made before hours of training."""

from __future__ import annotations

import argparse
import functools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.common.argument_parser import ArgumentParser
from pipelines.common.cli import UsageError
from pipelines.imaging.tensorflow_runtime import start_tensorflow
from trainer.config.options import first_difference, number
from trainer.config.recipes import as_arguments, read_recipe
from trainer.data.dataset_info import DatasetInfo, fold_split, read_dataset_info
from trainer.data.progressive_resizing import check_sizes, smallest_size
from trainer.distribution.cluster import check_cluster, read_cluster
from trainer.distribution.processes import available_cores
from trainer.evaluate.metadata_tables import has_subgroup_columns
from trainer.experiment.ablations import UNCHANGED, Ablation, Change, leaky_fingerprint, read_changes
from trainer.experiment.fold_runs import FIXED
from trainer.task.command_line import parse_options


@dataclass(frozen=True, kw_only=True)
class ExperimentOptions:
    """Options of one experiment; the command line's help explains each."""

    dataset: Path
    output: Path
    recipe: Path
    changes: Path | None
    balanced: Path | None
    change_folds: tuple[int, ...]
    metadata: tuple[Path, ...]
    card: Path | None
    jobs: int


def _check_recipe(where: str, recipe: Mapping[str, Any], image_size: int) -> None:
    """Raise UsageError unless `trainer.task` accepts the recipe and it leaves the choice of folds to us."""
    for name in ("fold", "keep"):
        if name in recipe:
            raise UsageError(f"{where}: leave out '{name}', which cross-validation sets")
    try:
        options = parse_options(["--dataset=d", "--output=o", *as_arguments(recipe)])
        if "patience" in recipe and options.patience:
            raise UsageError(
                f"'patience' is {options.patience}: the fold that is left out would say when to stop; give 0, or leave "
                "it out"
            )
        check_sizes(options.progressive, image_size)
        check_cluster(options.strategy, read_cluster())
        if options.backbone:
            _check_backbone(options.backbone, smallest_size(options.progressive, image_size), options.weights)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


@functools.cache
def _check_backbone(name: str, image_size: int, weights: str) -> None:
    """Raise UsageError unless the network can be built.

    The result is cached, so that changes with the same network are checked once.
    """
    start_tensorflow()
    from trainer.network.backbones import check_backbone, check_fits

    check_backbone(name)
    check_fits(name, image_size, weights)


def check(options: ExperimentOptions) -> tuple[DatasetInfo, dict[str, Any], Ablation]:
    """Read and check the dataset, the recipe and its changes.

    Raises:
        UsageError: Something is wrong with them or with another option. Nothing has been written or trained by then.
    """
    info = read_dataset_info(options.dataset)
    fold_split(info, 0)
    folds = len(info.splits["train"].folds)
    recipe = read_recipe(str(options.recipe))
    _check_recipe(f"--recipe {options.recipe}", recipe, info.image_size)
    ablation = read_changes(options.changes) if options.changes else Ablation()
    for change in (UNCHANGED, *ablation.changes):
        merged = {**recipe, **ablation.base, **change.options}
        _check_recipe(f"--changes {options.changes}, {change.name}", merged, info.image_size)
    for fold in options.change_folds:
        if not 0 <= fold < folds:
            raise UsageError(f"--change_folds {fold}: {info.path} has folds 0 to {folds - 1}")
    copied = [change.name for change in ablation.changes if change.dataset != "plain"]
    if copied:
        if options.balanced is None:
            raise UsageError(
                f"--changes {options.changes}: {copied[0]} needs stored augmented copies; give --balanced DIR, the "
                "same images prepared with --balance oversample"
            )
        _check_balanced(options.balanced, info)
    cores = len(available_cores())
    if cores and options.jobs > cores:
        raise UsageError(f"--jobs {options.jobs}: more than the cores this process may use; give {cores} at most")
    if options.output.exists() and not options.output.is_dir():
        raise UsageError(f"--output {options.output}: is a file; give a directory")
    for table in options.metadata:
        has_subgroup_columns(table, "--metadata")
    if options.card:
        _check_card(options.card)
    return info, recipe, ablation


def _check_card(card: Path) -> None:
    """Raise UsageError if the card cannot be written, which would otherwise show only after hours of training."""
    if card.is_dir():
        raise UsageError(f"--card {card}: is a directory; name a file")
    home = next(path for path in card.absolute().parents if os.path.exists(path))
    if not home.is_dir():
        raise UsageError(f"--card {card}: {home} is no directory; name another file")
    place = card if card.exists() else home
    if not os.access(place, os.W_OK):
        raise UsageError(f"--card {card}: cannot be written (no permission for {place}); name another file")


def check_same(options: ExperimentOptions, recipe: Mapping[str, Any], change: Change, fold: int) -> None:
    """Raise UsageError if an earlier run trained something else under the name of a change.

    Args:
        options: The options of the experiment.
        recipe: The base of the ablation.
        change: The change whose earlier run is checked.
        fold: The fold of that run.

    Raises:
        UsageError: Also if the earlier run's run.json is damaged.
    """
    folder = options.output / "changes" / change.name
    run = folder / f"fold-{fold}" / "train" / "run.json"
    if not run.is_file():
        return
    merged = {**recipe, **change.options, **FIXED, "fold": -1 if change.dataset == "leaky" else fold}
    now = parse_options(["--dataset=d", "--output=o", *as_arguments(merged)])
    try:
        earlier = json.loads(run.read_text(encoding="utf-8"))
    except ValueError:
        raise UsageError(f"--output {options.output}: {run} is damaged; delete {run.parents[1]}") from None
    made_of = options.dataset if change.dataset == "plain" else options.balanced
    assert made_of is not None
    fingerprint = read_dataset_info(made_of).fingerprint
    if change.dataset == "leaky":
        fingerprint = leaky_fingerprint(fingerprint, fold)
    difference = first_difference(now, earlier["options"])
    if difference:
        name, before, after = difference
        what = f"{name} {before!r}, not {after!r}"
    elif earlier["dataset_fingerprint"] != fingerprint:
        what = f"another dataset, not {made_of}"
    else:
        return
    # The base cannot be renamed, and all changes build on it.
    way_out = "give the change another name, or delete that folder"
    if change == UNCHANGED:
        way_out = f"give another --output, or delete {folder.parent}"
    raise UsageError(f"--changes {options.changes}, {change.name}: {folder} was trained with {what}; {way_out}")


def _folds_follow_from(info: DatasetInfo) -> dict[str, Any]:
    """Return what determines the folds of given images: the seed and all options except those on copies."""
    of_copies = ("balance", "target_per_class", "shard_mb")
    options = {name: value for name, value in info.options.items() if name not in of_copies}
    return {"seed": info.seed, **options}


def _check_balanced(path: Path, info: DatasetInfo) -> None:
    """Raise UsageError unless the dataset at `path` is the dataset of `info` with augmented copies."""
    balanced = read_dataset_info(path, "--balanced")
    train, own = balanced.splits["train"], info.splits["train"]
    different = any(getattr(balanced, name) != getattr(info, name) for name in ("classes", "image_size", "aspect"))
    different |= _folds_follow_from(balanced) != _folds_follow_from(info)
    if different or [fold.originals for fold in train.folds] != [fold.originals for fold in own.folds]:
        raise UsageError(
            f"--balanced {path}: is not the dataset of --dataset {info.path} with copies; prepare both with the same "
            "options but --balance"
        )
    if train.examples == train.originals:
        raise UsageError(f"--balanced {path}: has no augmented copies; prepare it with --balance oversample")


def _folds(text: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of folds; give numbers as in 0,1,2") from None


def _local(text: str) -> Path:
    if not text or "://" in text:
        raise argparse.ArgumentTypeError(f"'{text}': only local directories and files work here")
    return Path(text)


def parse_experiment(argv: Sequence[str] | None = None) -> ExperimentOptions:
    """Parse the command line.

    Args:
        argv: The arguments; `sys.argv[1:]` if None.

    Raises:
        UsageError: A value is not allowed.
    """
    parser = ArgumentParser(
        prog="python -m trainer.experiment",
        description="Cross-validate a recipe on a dataset prepared with folds: balanced accuracy with its spread over\n"
        "the folds, sensitivity and AUC per class, melanoma sensitivity at 90 % specificity, calibration.",
        epilog="The same command continues an interrupted experiment. Example:\n"
        "python -m trainer.experiment --dataset runs/folds --recipe trainer/config/bespoke.json --output runs/cv",
    )
    parser.add_argument("--dataset", type=_local, required=True, metavar="DIR", help="prepared with --folds")
    parser.add_argument("--output", type=_local, required=True, metavar="DIR", help="directory to write or to go on in")
    parser.add_argument(
        "--recipe", type=_local, required=True, metavar="FILE", help="JSON file with options of trainer.task"
    )
    parser.add_argument("--changes", type=_local, metavar="FILE", help="changes of the recipe to compare with it")
    parser.add_argument(
        "--balanced", type=_local, metavar="DIR", help="the same images prepared with --balance oversample, for changes"
    )
    parser.add_argument(
        "--change_folds", type=_folds, default="0", metavar="N,...", help="folds on which changes are compared"
    )
    parser.add_argument(
        "--metadata",
        type=_local,
        action="append",
        default=[],
        metavar="CSV",
        help="table of age, sex and body site, for figures by subgroup; may be repeated; one without such is left out",
    )
    parser.add_argument(
        "--jobs",
        type=number(int, 1),
        default=1,
        metavar="N",
        help="folds trained at once, each on its share of the cores: a small network cannot keep many busy; for CPUs",
    )
    parser.add_argument("--card", type=_local, metavar="FILE", help="where to write the model card too")
    values = vars(parser.parse_args(argv))
    return ExperimentOptions(**{**values, "metadata": tuple(values["metadata"])})
