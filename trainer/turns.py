"""One turn of cross-validation: a network trained without a fold and evaluated on it, in processes of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.cli import EXIT_SIGNAL
from trainer.recipes import as_arguments

# What every training run is told: all epochs, and the weights of the last.
FIXED = {"keep": "last", "patience": 0}


@dataclass(frozen=True)
class Turn:
    """One training run and its evaluations.

    fold: -1 for the dataset's own splits, of which it then validates and tests on two. metadata: tables of age, sex and
    body site, for the evaluations.
    """

    folder: Path
    dataset: Path
    fold: int
    options: Mapping[str, Any]
    metadata: tuple[Path, ...] = ()

    @property
    def train(self) -> Path:
        return self.folder / "train"

    @property
    def evaluation(self) -> Path:
        return self.folder / "evaluation"

    @property
    def one_view(self) -> Path:
        return self.folder / "one_view"


def _call(module: str, *arguments: str) -> None:
    """Run a command of ours; ends this one with the same exit code if it fails, its own message having been shown."""
    child = subprocess.Popen([sys.executable, "-m", module, *arguments])
    try:
        code = child.wait()
    except KeyboardInterrupt:
        # Whoever ends this process alone does not mean the other to go on; on SIGTERM the trainer saves first.
        child.terminate()
        child.wait()
        raise
    if code < 0:
        print(f"{module}: ended by signal {-code}; the same command continues", file=sys.stderr)
        code = EXIT_SIGNAL - code
    if code:
        raise SystemExit(code)


def take(turn: Turn) -> dict[str, Any]:
    """Train and evaluate, as far as an earlier run has not; gives what evaluation.json says, and train.json as `train`.

    Ends the process with the exit code of a command that fails.
    """
    if not (turn.train / "model").is_dir():
        print(f"== {turn.folder}", flush=True)
        where = [f"--dataset={turn.dataset}", f"--output={turn.train}"]
        _call("trainer.task", *where, *as_arguments({**turn.options, **FIXED}), *_fold(turn))
    evaluation = _evaluate(turn, turn.evaluation, "--tta")
    return {**evaluation, "train": json.loads((turn.train / "train.json").read_text(encoding="utf-8"))}


def look_once(turn: Turn) -> dict[str, Any]:
    """What evaluation.json says of one view of each image, after `take`."""
    return _evaluate(turn, turn.one_view)


def _fold(turn: Turn) -> list[str]:
    return [f"--fold={turn.fold}"] if turn.fold >= 0 else []


def _evaluate(turn: Turn, output: Path, *how: str) -> dict[str, Any]:
    known, model = output / "evaluation.json", turn.train / "model/assets/model.json"
    fingerprint = json.loads(model.read_text(encoding="utf-8"))["model_fingerprint"]
    # A turn whose train/ was deleted has been trained again.
    if not known.is_file() or json.loads(known.read_text(encoding="utf-8"))["model"]["fingerprint"] != fingerprint:
        shutil.rmtree(output, ignore_errors=True)
        _call(
            "trainer.evaluate",
            f"--dataset={turn.dataset}",
            f"--model={turn.train / 'model'}",
            f"--output={output}",
            *(f"--metadata={table}" for table in turn.metadata),
            *_fold(turn),
            *how,
        )
    return json.loads(known.read_text(encoding="utf-8"))
