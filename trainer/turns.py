"""The turns of a cross-validation: networks trained without a fold and evaluated on it, in processes of their own."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from trainer.processes import Child, available_cores, send_all, shell_code, split_cores
from trainer.recipes import as_arguments

# What every training run is told: all epochs, and the weights of the last.
FIXED = {"keep": "last", "patience": 0}


@dataclass(frozen=True)
class Turn:
    """One training run and its evaluations.

    fold: -1 for the dataset's own splits, of which it then validates and tests on two. metadata: tables of age, sex and
    body site, for the evaluations. once: evaluate with one view of each image too.
    """

    folder: Path
    dataset: Path
    fold: int
    options: Mapping[str, Any]
    metadata: tuple[Path, ...] = ()
    once: bool = False

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
        train = json.loads((self.train / "train.json").read_text(encoding="utf-8"))
        return {**_evaluation(self.evaluation), "train": train}

    def figures_of_one_view(self) -> dict[str, Any]:
        return _evaluation(self.one_view)


def take_all(turns: Sequence[Turn], jobs: int) -> None:
    """Train and evaluate, as far as an earlier run has not: `jobs` turns at once, each on its share of the cores.

    Ends the process with the exit code of the first command that fails, whose own message has been shown. The others
    are then told to end, as they are when this process is: the trainer saves first, and the turns go on from there.
    """
    crew = _Crew(jobs)
    with ThreadPoolExecutor(jobs) as pool:
        tasks = [pool.submit(crew.take, turn) for turn in turns]
        try:
            for task in as_completed(tasks):
                task.result()
        except BaseException:
            crew.dismiss()
            raise


class _Crew:
    """Those who take the turns."""

    def __init__(self, jobs: int):
        self._marked = jobs > 1
        self._shares: SimpleQueue[list[int]] = SimpleQueue()
        for share in split_cores(available_cores(), jobs):
            self._shares.put(share)
        self._lock = threading.Lock()
        self._running: set[Child] = set()
        self._dismissed = False

    def dismiss(self) -> None:
        """Tell what runs to end, and start nothing more."""
        with self._lock:
            self._dismissed = True
            send_all(self._running, signal.SIGTERM)

    def take(self, turn: Turn) -> None:
        cores = self._shares.get()
        try:
            self._take(turn, cores)
        finally:
            self._shares.put(cores)

    def _take(self, turn: Turn, cores: Sequence[int]) -> None:
        mark = f"[{turn.folder.parent.name}/{turn.folder.name}] " if self._marked else ""
        fold = [f"--fold={turn.fold}"] if turn.fold >= 0 else []
        if not (turn.train / "model").is_dir():
            if not mark:
                print(f"== {turn.folder}", flush=True)
            where = [f"--dataset={turn.dataset}", f"--output={turn.train}"]
            self._call(mark, cores, "trainer.task", *where, *as_arguments({**turn.options, **FIXED}), *fold)
        model = json.loads((turn.train / "model/assets/model.json").read_text(encoding="utf-8"))
        looks = [(turn.evaluation, ["--tta"]), (turn.one_view, [])]
        for output, how in looks if turn.once else looks[:1]:
            # A turn whose train/ was deleted has been trained again.
            if not _is_of(output, model["model_fingerprint"]):
                shutil.rmtree(output, ignore_errors=True)
                where = [f"--dataset={turn.dataset}", f"--model={turn.train / 'model'}", f"--output={output}"]
                tables = [f"--metadata={table}" for table in turn.metadata]
                self._call(mark, cores, "trainer.evaluate", *where, *tables, *fold, *how)

    def _call(self, mark: str, cores: Sequence[int], module: str, *arguments: str) -> None:
        """Run a command of ours to its end. SystemExit with its exit code if it fails."""
        with self._lock:
            if self._dismissed:
                raise SystemExit(shell_code(-signal.SIGTERM))
            child = Child([sys.executable, "-m", module, *arguments], mark=mark, cores=cores)
            self._running.add(child)
        try:
            code = child.wait()
        finally:
            with self._lock:
                self._running.discard(child)
        if code < 0:
            print(f"{mark}{module}: ended by signal {-code}; the same command continues", file=sys.stderr)
        if code:
            raise SystemExit(shell_code(code))


def _evaluation(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))


def _is_of(evaluation: Path, model_fingerprint: str) -> bool:
    """Whether it is finished, and of this model."""
    known = evaluation / "evaluation.json"
    return known.is_file() and _evaluation(evaluation)["model"]["fingerprint"] == model_fingerprint
