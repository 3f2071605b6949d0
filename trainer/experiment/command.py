"""Cross-validate a recipe, and changes to it one at a time: `python -m trainer.experiment`.

    OUT/experiment.json                 every figure with its n, spread and interval; written last
    OUT/model_card.md                   the same for people
    OUT/out_of_fold.parquet             each image as the network predicts it that never saw it, for `pipelines.audit`
    OUT/recipe/fold-0/train, /evaluation (of eight views), /one_view, fold-1/ ...
    OUT/changes/NAME/fold-0/ ...        the recipe with one change, on the folds of --change_folds
    OUT/changes/base/fold-0/ ...        what it is compared with, if that is not the recipe itself

Each fold is left out once. A network is trained on the other folds for a fixed number of epochs, and its last weights
are evaluated on the fold. So neither an image of the fold nor another photograph of its lesions influences the weights
or when training stops. Training runs are those of `trainer.task`, evaluations those of `trainer.evaluate`, each in a
process of its own. Running the same command again continues an interrupted experiment.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.common.claimed_folder import claimed_folder, require_free, without_claim
from pipelines.common.cli import UsageError
from trainer.data.dataset_info import DatasetInfo
from trainer.evaluate.metadata_tables import has_subgroup_columns, read_image_facts
from trainer.experiment.ablations import UNCHANGED, Ablation, Change
from trainer.experiment.fold_runs import FoldRun, Leak, run_all
from trainer.experiment.options import ExperimentOptions, check, check_same, parse_experiment
from trainer.task.run_directory import write_json

SCHEMA_VERSION = 1
SETTINGS, FIGURES, CARD = "settings.json", "experiment.json", "model_card.md"
OUT_OF_FOLD = "out_of_fold.parquet"


def require_same(output: Path, settings: Mapping[str, Any]) -> None:
    """Raise UsageError unless an experiment's directory is empty or holds this experiment.

    A later run may add changes, but not use another recipe or dataset.

    Args:
        output: The directory.
        settings: What identifies the experiment: its recipe and dataset.

    Raises:
        UsageError: The directory holds something else.
    """
    known = output / SETTINGS
    if known.is_file():
        try:
            earlier = json.loads(known.read_text(encoding="utf-8"))
        except ValueError:
            raise UsageError(f"--output {output}: {SETTINGS} is damaged; give a new directory") from None
        if earlier != settings:
            raise UsageError(
                f"--output {output}: holds an experiment with another recipe or dataset; give a new directory, or "
                "delete this one"
            )
    elif output.is_dir() and without_claim({path.name for path in output.iterdir()}, output):
        raise UsageError(f"--output {output}: is not empty and holds no experiment of ours; give a new directory")


@contextlib.contextmanager
def claimed_experiment(output: Path, settings: Mapping[str, Any]) -> Iterator[None]:
    """Let one command at a time work on an experiment; make its directory, or check that it holds this experiment.

    Args:
        output: The directory.
        settings: See `require_same`.

    Raises:
        UsageError: The directory holds something else, cannot be written, or another command works there.
    """
    require_free(str(output))
    require_same(output, settings)
    with claimed_folder(str(output)):
        require_same(output, settings)
        if not (output / SETTINGS).is_file():
            try:
                write_json(output / SETTINGS, settings)
            except OSError as error:
                raise UsageError(
                    f"--output {output}: cannot be written ({error.strerror}); give another directory"
                ) from None
        yield


def _fold_run_of(options: ExperimentOptions, recipe: Mapping[str, Any], change: Change, fold: int) -> FoldRun:
    """Return the fold run that trains and evaluates a change of the recipe on one fold."""
    folder = options.output / "changes" / change.name / f"fold-{fold}"
    merged = {**recipe, **change.options}
    if change.dataset == "plain":
        return FoldRun(folder, options.dataset, fold, merged)
    assert options.balanced is not None
    if change.dataset == "balanced":
        return FoldRun(folder, options.balanced, fold, merged)
    leaky = options.output / "leaky" / f"fold-{fold}"
    return FoldRun(folder, leaky, -1, merged, leak=Leak(options.balanced, fold))


def run(options: ExperimentOptions) -> dict[str, Any]:
    """Cross-validate the recipe and its changes, write the figures and the card, and print the tables.

    Returns:
        The content of experiment.json.

    Raises:
        UsageError: The options, the recipe or the changes are wrong, or do not fit the dataset or an earlier run.
    """
    info, recipe, ablation = check(options)
    with claimed_experiment(options.output, {"recipe": recipe, "dataset_fingerprint": info.fingerprint}):
        return _run(options, info, recipe, ablation)


def _run(
    options: ExperimentOptions, info: DatasetInfo, recipe: Mapping[str, Any], ablation: Ablation
) -> dict[str, Any]:
    """Do the work of `run`, in an output that is this command's."""
    shortened = {name: value for name, value in ablation.base.items() if recipe.get(name) != value}
    base = {**recipe, **shortened}
    # If the base is the recipe itself, the recipe's own runs are what changes are compared with.
    asked = [UNCHANGED, *ablation.changes] if shortened else ablation.changes
    for change, fold in itertools.product(asked, options.change_folds):
        check_same(options, base, change, fold)
    from trainer.experiment.model_card import format_changes, format_classes, format_summary, model_card
    from trainer.experiment.oof_predictions import write_out_of_fold
    from trainer.experiment.summary import change_line, summarise

    subgroup_tables = tuple(table for table in options.metadata if has_subgroup_columns(table, "--metadata"))
    folds = range(len(info.splits["train"].folds))
    fold_runs = [
        FoldRun(
            options.output / "recipe" / f"fold-{fold}",
            options.dataset,
            fold,
            recipe,
            subgroup_tables,
            also_one_view=True,
        )
        for fold in folds
    ]
    if shortened:
        compared = [_fold_run_of(options, base, UNCHANGED, fold) for fold in options.change_folds]
    else:
        compared = [fold_runs[fold] for fold in options.change_folds]
    changed = [
        [_fold_run_of(options, base, change, fold) for fold in options.change_folds] for change in ablation.changes
    ]
    every = {fold_run.folder: fold_run for fold_run in itertools.chain(fold_runs, compared, *changed)}
    run_all(list(every.values()), options.jobs)
    write_out_of_fold([fold_run.evaluation for fold_run in fold_runs], options.output / OUT_OF_FOLD)
    lines = [change_line(info, *line, compared) for line in zip(ablation.changes, changed, strict=True)]
    figures = {
        "schema_version": SCHEMA_VERSION,
        "dataset": {
            "path": str(options.dataset),
            "fingerprint": info.fingerprint,
            "image_size": info.image_size,
            "aspect": info.aspect,
            "examples": info.splits["train"].examples,
        },
        "recipe": recipe,
        **summarise(info, fold_runs, read_image_facts(subgroup_tables)),
        "changes": {"folds": list(options.change_folds), "base": shortened, "lines": lines},
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
    print(f"out-of-fold predictions: {options.output / OUT_OF_FOLD}")
    return figures


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and run the experiment."""
    run(parse_experiment(argv))
