"""A training run as a whole, on one fold of a cross-validation."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.commands import Command
from tests.support.tiny_dataset import training
from trainer.data.dataset_info import fold_split, read_dataset_info
from trainer.export.loaded_model import read_model_info


def test_a_run_on_a_fold_validates_on_it_and_exports_the_last_epoch(
    command: Command, folded: Path, tmp_path: Path
) -> None:
    done = command(*training(folded, tmp_path / "run", "--fold=1", "--epochs=2", "--keep=last"))
    assert done.returncode == 0, done.stderr
    phases = [line.removeprefix("trainer.task: ").split()[0] for line in done.stderr.splitlines()]
    assert phases == ["starting", "compiling", "drawing", "calibrating", "exporting"]
    report = json.loads((tmp_path / "run/train.json").read_text())
    history = json.loads((tmp_path / "run/history.json").read_text())
    of_fold = fold_split(read_dataset_info(folded), 1)
    assert report["validation"]["n"] == of_fold.split("validation").originals
    assert report["calibration"]["n"] == of_fold.split("validation").originals
    assert report["epoch"] == 2
    assert read_model_info(tmp_path / "run/model").fold == 1
    assert report["validation"]["balanced_accuracy"] == history[-1]["val_balanced_accuracy"]
