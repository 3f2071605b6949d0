"""Fold runs of a cross-validation: train a network without a fold and evaluate it on that fold, in own processes."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.common.cli import UsageError
from pipelines.common.schema_version import require_schema_version
from pipelines.domain.model_files import MODEL_JSON
from trainer.config.recipes import as_arguments
from trainer.distribution.processes import Command, run_chains
from trainer.evaluate.options import PREDICTIONS, SCHEMA_VERSION, SUMMARY

# Options of every training run: train all epochs and keep the weights of the last.
FIXED = {"keep": "last", "patience": 0}
# How long a process may take to end. Saving takes seconds; this is for processes that hang.
_GRACE_SECONDS = 120.0
# Files in which a finished training run describes itself and its model.
_TRAIN, _MODEL = "train.json", f"model/{MODEL_JSON}"


class Leak(NamedTuple):
    """What `trainer.experiment.leaky_dataset` makes the dataset of a run from."""

    balanced: Path  # a dataset with folds and stored augmented copies
    fold: int  # left out, as the test split


@dataclass(frozen=True)
class FoldRun:
    """One training run and its evaluations."""

    folder: Path
    dataset: Path
    fold: int  # -1: none; train, validate and test on the dataset's own splits
    options: Mapping[str, Any]
    metadata: tuple[Path, ...] = ()  # tables of age, sex and body site, for the evaluations
    also_one_view: bool = False  # evaluate one view of each image too
    leak: Leak | None = None  # how to make `dataset`, if it is a leaky one

    @property
    def train(self) -> Path:
        """The folder of the training run."""
        return self.folder / "train"

    @property
    def evaluation(self) -> Path:
        """The folder of the evaluation of eight views."""
        return self.folder / "evaluation"

    @property
    def one_view(self) -> Path:
        """The folder of the evaluation of one view, which exists if `also_one_view` is set."""
        return self.folder / "one_view"

    def figures(self) -> dict[str, Any]:
        """Read evaluation.json of eight views, with train.json under the key `train`; the run must be finished.

        Raises:
            UsageError: train.json is missing or damaged.
        """
        return {**_evaluation(self.evaluation), "train": _trained(self.folder, _TRAIN)}

    def figures_of_one_view(self) -> dict[str, Any]:
        """Read evaluation.json of one view; the run must be finished, and `also_one_view` set."""
        return _evaluation(self.one_view)


def run_all(runs: Sequence[FoldRun], jobs: int) -> None:
    """Train and evaluate what earlier runs have not: `jobs` runs at once, each on its share of the cores.

    When a command fails or a signal arrives, the other commands are told to end. The trainer saves first, and the same
    runs continue from there. Incomplete evaluations are made again.

    Raises:
        SystemExit: A command failed. The code is that of the first one that failed; its own message has been shown.
            After a signal the process ends by that signal instead.
        UsageError: A file of a finished training run is missing or damaged, or an evaluation has another schema
            version. Raised before any work.
    """
    for run in runs:
        if (run.train / "model").is_dir():
            for name in (_MODEL, _TRAIN):
                _trained(run.folder, name)
            for folder in (run.evaluation, run.one_view):
                with contextlib.suppress(FileNotFoundError, ValueError):  # it will be made
                    _evaluation(folder)
    jobs = max(1, min(jobs, len(runs)))
    outcome = run_chains([_commands(run, marked=jobs > 1) for run in runs], jobs, _GRACE_SECONDS)
    if outcome.signal:
        # `run_chains` has restored the earlier handlers: pass the signal on to them.
        signal.raise_signal(outcome.signal)
    if outcome.code:
        raise SystemExit(outcome.code)


def _commands(run: FoldRun, marked: bool) -> Iterator[Command]:
    """Yield the commands that a run still needs, in order; `marked` prefixes their output with its name."""
    mark = f"[{run.folder.parent.name}/{run.folder.name}] " if marked else ""

    def command(module: str, *arguments: str, **options: object) -> Command:
        given = [f"--{name}={value}" for name, value in options.items()]
        return Command([sys.executable, "-m", module, *given, *arguments], mark)

    fold = {"fold": run.fold} if run.fold >= 0 else {}
    if not (run.train / "model").is_dir():
        if not mark:
            print(f"== {run.folder}", flush=True)
        if run.leak:
            yield command(
                "trainer.experiment.leaky_dataset", dataset=run.leak.balanced, fold=run.leak.fold, output=run.dataset
            )
        recipe = as_arguments({**run.options, **FIXED})
        yield command("trainer.task", *recipe, dataset=run.dataset, output=run.train, **fold)
    model = run.train / "model"
    fingerprint = _trained(run.folder, _MODEL)["model_fingerprint"]
    tables = [f"--metadata={table}" for table in run.metadata]
    evaluations = [(run.evaluation, ["--tta"]), (run.one_view, [])]
    for output, how in evaluations if run.also_one_view else evaluations[:1]:
        # If train/ was deleted, the fold has been trained again, and an old evaluation is of another model.
        if not _is_of(output, fingerprint, run.metadata):
            shutil.rmtree(output, ignore_errors=True)
            yield command("trainer.evaluate", *tables, *how, dataset=run.dataset, model=model, output=output, **fold)


def _trained(folder: Path, name: str) -> dict[str, Any]:
    """Read a JSON file of a finished training run.

    Raises:
        UsageError: The file is missing or damaged.
    """
    try:
        return json.loads((folder / "train" / name).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        raise UsageError(
            f"--output {folder}: train/{name} is missing or damaged; delete this folder to have the fold trained again"
        ) from None


def _evaluation(folder: Path) -> dict[str, Any]:
    """Read the summary of an evaluation.

    Raises:
        UsageError: It has another schema version.
    """
    path = folder / SUMMARY
    values = json.loads(path.read_text(encoding="utf-8"))
    require_schema_version(values, SCHEMA_VERSION, f"--output {path}", "delete its folder to have it made again")
    return values


def _is_of(evaluation: Path, model_fingerprint: str, metadata: Sequence[Path]) -> bool:
    """Return whether an evaluation is complete, of this model, and made with these tables."""
    if not (evaluation / PREDICTIONS).is_file():
        return False
    try:
        found = _evaluation(evaluation)
    except (FileNotFoundError, ValueError, KeyError):
        return False
    tables = list(map(str, metadata))
    return found["model"]["fingerprint"] == model_fingerprint and found["metadata"]["paths"] == tables
