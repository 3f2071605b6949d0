"""The turns of a cross-validation: networks trained without a fold and evaluated on it, in processes of their own."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.cli import UsageError
from trainer.processes import Command, run_chains
from trainer.recipes import as_arguments

# What every training run is told: all epochs, and the weights of the last.
FIXED = {"keep": "last", "patience": 0}
# Saving takes seconds; this is for those that hang.
_GRACE_SECONDS = 120.0
# What a finished training run says of itself and of its model.
_TRAIN, _MODEL = "train.json", "model/assets/model.json"


class Leak(NamedTuple):
    """Of what a turn's dataset is made first: a dataset with copies, and the fold that is its truth."""

    balanced: Path
    fold: int


@dataclass(frozen=True)
class Turn:
    """One training run and its evaluations.

    fold: -1 for the dataset's own splits, of which it then validates and tests on two. metadata: tables of age, sex and
    body site, for the evaluations. once: evaluate with one view of each image too. leak: of a leaky dataset.
    """

    folder: Path
    dataset: Path
    fold: int
    options: Mapping[str, Any]
    metadata: tuple[Path, ...] = ()
    once: bool = False
    leak: Leak | None = None

    @property
    def train(self) -> Path:
        return self.folder / "train"

    @property
    def evaluation(self) -> Path:
        return self.folder / "evaluation"

    @property
    def one_view(self) -> Path:
        return self.folder / "one_view"

    def figures(self) -> dict[str, Any]:
        """What evaluation.json says of eight views, and train.json as `train`; once the turn is taken."""
        return {**_evaluation(self.evaluation), "train": _trained(self.folder, _TRAIN)}

    def figures_of_one_view(self) -> dict[str, Any]:
        return _evaluation(self.one_view)


def take_all(turns: Sequence[Turn], jobs: int) -> None:
    """Train and evaluate, as far as an earlier run has not: `jobs` turns at once, each on its share of the cores.

    Ends the process with the exit code of the first command that fails, whose own message has been shown, or by the
    signal that comes. The others are then told to end: the trainer saves first, and the same turns go on from there.
    UsageError, before any work, for a finished turn that is no longer whole; evaluations are made again.
    """
    for turn in turns:
        if (turn.train / "model").is_dir():
            for name in (_MODEL, _TRAIN):
                _trained(turn.folder, name)
    jobs = max(1, min(jobs, len(turns)))
    outcome = run_chains([_commands(turn, marked=jobs > 1) for turn in turns], jobs, _GRACE_SECONDS)
    if outcome.signal:
        # To whoever handles it but us.
        signal.raise_signal(outcome.signal)
    if outcome.code:
        raise SystemExit(outcome.code)


def _commands(turn: Turn, marked: bool) -> Iterator[Command]:
    """What is left to do of a turn, one after another."""
    mark = f"[{turn.folder.parent.name}/{turn.folder.name}] " if marked else ""

    def command(module: str, *arguments: str, **options: object) -> Command:
        given = [f"--{name}={value}" for name, value in options.items()]
        return Command([sys.executable, "-m", module, *given, *arguments], mark)

    fold = {"fold": turn.fold} if turn.fold >= 0 else {}
    if not (turn.train / "model").is_dir():
        if not mark:
            print(f"== {turn.folder}", flush=True)
        if turn.leak:
            yield command("trainer.leak", dataset=turn.leak.balanced, fold=turn.leak.fold, output=turn.dataset)
        recipe = as_arguments({**turn.options, **FIXED})
        yield command("trainer.task", *recipe, dataset=turn.dataset, output=turn.train, **fold)
    model = turn.train / "model"
    fingerprint = _trained(turn.folder, _MODEL)["model_fingerprint"]
    tables = [f"--metadata={table}" for table in turn.metadata]
    looks = [(turn.evaluation, ["--tta"]), (turn.one_view, [])]
    for output, how in looks if turn.once else looks[:1]:
        # A turn whose train/ was deleted has been trained again.
        if not _is_of(output, fingerprint, turn.metadata):
            shutil.rmtree(output, ignore_errors=True)
            yield command("trainer.evaluate", *tables, *how, dataset=turn.dataset, model=model, output=output, **fold)


def _trained(folder: Path, name: str) -> dict[str, Any]:
    """What a file of a finished training run says. UsageError if it is lost."""
    try:
        return json.loads((folder / "train" / name).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        raise UsageError(
            f"--output {folder}: train/{name} is missing or damaged; delete this folder to have the fold trained again"
        ) from None


def _evaluation(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))


def _is_of(evaluation: Path, model_fingerprint: str, metadata: Sequence[Path]) -> bool:
    """Whether it is finished, whole, of this model, and made with these tables."""
    if not (evaluation / "predictions.parquet").is_file():
        return False
    try:
        found = _evaluation(evaluation)
    except (FileNotFoundError, ValueError):
        return False
    tables = list(map(str, metadata))
    return found["model"]["fingerprint"] == model_fingerprint and found["metadata"]["paths"] == tables
