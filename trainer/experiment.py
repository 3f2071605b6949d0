"""Cross-validation of a recipe, and of changes to it one at a time: `python -m trainer.experiment`.

    OUT/experiment.json                 every figure with its n, spread and interval; written last
    OUT/model_card.md                   the same for people
    OUT/recipe/fold-0/train, /evaluation (of eight views), /one_view, fold-1/ ...
    OUT/changes/NAME/fold-0/ ...        the recipe with one change, on the folds of --change_folds
    OUT/changes/base/fold-0/ ...        what it is compared with, if that is not the recipe itself

Each fold is left out once: a network is trained on the others for a fixed number of epochs, and its last weights are
evaluated on the fold. So no image of the fold, nor any other photograph of its lesions, had a say in the weights or in
when to stop. Training runs are those of `trainer.task`, evaluations those of `trainer.evaluate`, each a process of its
own. The same command continues where an earlier one was interrupted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.cli import ArgumentParser, UsageError, run_command, start_tensorflow
from trainer.changes import UNCHANGED, Ablation, Change, read_changes
from trainer.command_line import parse_options
from trainer.dataset_info import DatasetInfo, fold_split, read_dataset_info
from trainer.options import first_difference
from trainer.outputs import write_json
from trainer.phases import check_sizes
from trainer.recipes import as_arguments, read_config
from trainer.turns import FIXED, Turn, look_once, take
from trainer.user_tables import read_image_facts, says_of_people

SCHEMA_VERSION = 1
SETTINGS, FIGURES, CARD = "settings.json", "experiment.json", "model_card.md"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What one experiment is told; the command line's help says what each means."""

    dataset: Path
    output: Path
    config: Path
    changes: Path | None
    balanced: Path | None
    change_folds: tuple[int, ...]
    metadata: tuple[Path, ...]
    card: Path | None


def _check_recipe(where: str, recipe: Mapping[str, Any], image_size: int) -> None:
    """UsageError unless `trainer.task` takes these options for such images, and they leave the folds to us."""
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
        if options.backbone:
            start_tensorflow()
            from trainer.backbones import check_backbone

            check_backbone(options.backbone)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def check(options: Options) -> tuple[DatasetInfo, dict[str, Any], Ablation]:
    """The dataset, the recipe and its changes. UsageError before anything is written or any network trained."""
    info = read_dataset_info(options.dataset)
    fold_split(info, 0)
    folds = len(info.splits["train"].folds)
    recipe = read_config(str(options.config))
    _check_recipe(f"--config {options.config}", recipe, info.image_size)
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
    if options.output.exists() and not options.output.is_dir():
        raise UsageError(f"--output {options.output}: is a file; give a directory")
    for table in options.metadata:
        says_of_people(table, "--metadata")
    if options.card:
        _check_card(options.card)
    return info, recipe, ablation


def _check_card(card: Path) -> None:
    """UsageError for a place where no file can be written; found before the hours of training."""
    if card.is_dir():
        raise UsageError(f"--card {card}: is a directory; name a file")
    home = next(path for path in card.absolute().parents if os.path.exists(path))
    if not home.is_dir():
        raise UsageError(f"--card {card}: {home} is no directory; name another file")
    place = card if card.exists() else home
    if not os.access(place, os.W_OK):
        raise UsageError(f"--card {card}: cannot be written (no permission for {place}); name another file")


def check_same(options: Options, recipe: Mapping[str, Any], change: Change, fold: int) -> None:
    """UsageError if an earlier run trained something else under the name of a change. recipe: the ablation's base."""
    folder = options.output / "changes" / change.name
    run = folder / f"fold-{fold}" / "train" / "run.json"
    if not run.is_file():
        return
    merged = {**recipe, **change.options, **FIXED, "fold": -1 if change.dataset == "leaky" else fold}
    now = parse_options(["--dataset=d", "--output=o", *as_arguments(merged)])
    earlier = json.loads(run.read_text(encoding="utf-8"))
    wanted = {"plain": options.dataset, "balanced": options.balanced}.get(change.dataset)
    difference = first_difference(now, earlier["options"])
    if difference:
        name, before, after = difference
        what = f"{name} {before!r}, not {after!r}"
    elif wanted and earlier["dataset_fingerprint"] != read_dataset_info(wanted).fingerprint:
        what = f"another dataset, not {wanted}"
    else:
        return
    # The base has no name to change, and all changes are of it.
    way_out = "give the change another name, or delete that folder"
    if change == UNCHANGED:
        way_out = f"give another --output, or delete {folder.parent}"
    raise UsageError(f"--changes {options.changes}, {change.name}: {folder} was trained with {what}; {way_out}")


def _check_balanced(path: Path, info: DatasetInfo) -> None:
    """UsageError unless the dataset at `path` is `info`'s with copies."""
    balanced = read_dataset_info(path, "--balanced")
    train, own = balanced.splits["train"], info.splits["train"]
    different = any(getattr(balanced, name) != getattr(info, name) for name in ("classes", "image_size", "aspect"))
    if different or [fold.originals for fold in train.folds] != [fold.originals for fold in own.folds]:
        raise UsageError(
            f"--balanced {path}: is not the dataset of --dataset {info.path} with copies; prepare both with the same "
            "options but --balance"
        )
    if train.examples == train.originals:
        raise UsageError(f"--balanced {path}: has no augmented copies; prepare it with --balance oversample")


def claim_output(output: Path, settings: Mapping[str, Any]) -> None:
    """Make `output` ours, or see that it is: a later run may add changes, but not another recipe or dataset."""
    known = output / SETTINGS
    if known.is_file():
        if json.loads(known.read_text(encoding="utf-8")) != settings:
            raise UsageError(
                f"--output {output}: holds an experiment with another recipe or dataset; give a new directory, or "
                "delete this one"
            )
        return
    if output.is_dir() and any(output.iterdir()):
        raise UsageError(f"--output {output}: is not empty and holds no experiment of ours; give a new directory")
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_json(known, settings)
    except OSError as error:
        raise UsageError(f"--output {output}: cannot be written ({error.strerror}); give another directory") from None


def _leaky(options: Options, fold: int) -> Path:
    """The leaky dataset that belongs to a fold, made when it is first needed."""
    folder = options.output / "leaky" / f"fold-{fold}"
    if not folder.is_dir():
        assert options.balanced is not None
        start_tensorflow()
        from trainer.leak import write_leaky_dataset

        write_leaky_dataset(read_dataset_info(options.balanced, "--balanced"), fold, folder)
    return folder


def _turn_of(options: Options, recipe: Mapping[str, Any], change: Change, fold: int) -> Turn:
    folder = options.output / "changes" / change.name / f"fold-{fold}"
    merged = {**recipe, **change.options}
    if change.dataset == "leaky":
        return Turn(folder, _leaky(options, fold), -1, merged)
    if change.dataset == "balanced":
        assert options.balanced is not None
        return Turn(folder, options.balanced, fold, merged)
    return Turn(folder, options.dataset, fold, merged)


def run(options: Options) -> dict[str, Any]:
    """Cross-validate the recipe and its changes, write the figures and the card, and print the table."""
    info, recipe, ablation = check(options)
    claim_output(options.output, {"recipe": recipe, "dataset_fingerprint": info.fingerprint})
    base = {**recipe, **ablation.base}
    # Without a base, what earlier runs were compared with is not asked for.
    asked = [UNCHANGED, *ablation.changes] if ablation.base else ablation.changes
    for change, fold in itertools.product(asked, options.change_folds):
        check_same(options, base, change, fold)
    from trainer.experiment_figures import change_line, summarise
    from trainer.model_card import format_changes, format_classes, format_summary, model_card

    people = tuple(table for table in options.metadata if says_of_people(table, "--metadata"))
    folds = range(len(info.splits["train"].folds))
    turns = [Turn(options.output / "recipe" / f"fold-{fold}", options.dataset, fold, recipe, people) for fold in folds]
    evaluations = [take(turn) for turn in turns]
    once = [look_once(turn) for turn in turns]
    if ablation.base:
        compared = [take(_turn_of(options, base, UNCHANGED, fold)) for fold in options.change_folds]
    else:
        compared = [evaluations[fold] for fold in options.change_folds]
    lines = []
    for change in ablation.changes:
        changed = [take(_turn_of(options, base, change, fold)) for fold in options.change_folds]
        lines.append(change_line(change, changed, compared))
    figures = {
        "schema_version": SCHEMA_VERSION,
        "dataset": {
            "path": str(options.dataset),
            "fingerprint": info.fingerprint,
            "image_size": info.image_size,
            "aspect": info.aspect,
        },
        "recipe": recipe,
        **summarise(info, turns, evaluations, once, read_image_facts(people)),
        "changes": {"folds": list(options.change_folds), "base": dict(ablation.base), "lines": lines},
    }
    write_json(options.output / FIGURES, figures)
    card = model_card(figures)
    for path in filter(None, (options.output / CARD, options.card)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(card, encoding="utf-8")
    print(f"{format_summary(figures)}\n\n{format_classes(figures)}")
    if lines:
        print(f"\n{format_changes(figures)}")
    print(f"\nfigures: {options.output / FIGURES}\ncard: {options.card or options.output / CARD}")
    return figures


def _folds(text: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of folds; give numbers as in 0,1,2") from None


def _local(text: str) -> Path:
    if not text or "://" in text:
        raise argparse.ArgumentTypeError(f"'{text}': only local directories and files work here")
    return Path(text)


def parse_experiment(argv: Sequence[str] | None = None) -> Options:
    """Options from the command line (`sys.argv` if None). UsageError for a value that cannot be."""
    parser = ArgumentParser(
        prog="python -m trainer.experiment",
        description="Cross-validate a recipe on a dataset prepared with folds: balanced accuracy with its spread over\n"
        "the folds, sensitivity and AUC per class, melanoma sensitivity at 90 % specificity, calibration.",
        epilog="The same command continues an interrupted experiment. Example:\n"
        "python -m trainer.experiment --dataset runs/folds --config trainer/configs/bespoke.json --output runs/cv",
    )
    parser.add_argument("--dataset", type=_local, required=True, metavar="DIR", help="prepared with --folds")
    parser.add_argument("--output", type=_local, required=True, metavar="DIR", help="directory to write or to go on in")
    parser.add_argument(
        "--config", type=_local, required=True, metavar="FILE", help="the recipe: options of trainer.task"
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
    parser.add_argument("--card", type=_local, metavar="FILE", help="where to write the model card too")
    values = vars(parser.parse_args(argv))
    return Options(**{**values, "metadata": tuple(values["metadata"])})


def main(argv: Sequence[str] | None = None) -> None:
    run(parse_experiment(argv))


if __name__ == "__main__":
    run_command("trainer.experiment", main)
