"""The output directory of a training run: whose it is, whether the run in it can go on, and what may be deleted.

run.json      written first: options, dataset fingerprint, threads; marks the directory as ours
checkpoints/  logs/  history.json   while training
train.json    figures of the finished run
curves.png    loss, accuracy and learning rate by epoch
reliability.png  confidence against accuracy, before and after calibration
model/        renamed into place last; its presence means finished
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.cli import UsageError
from trainer.dataset_info import DatasetInfo
from trainer.options import Options, first_difference

PROGRAM = "trainer.task"
SCHEMA_VERSION = 1
_JSON = ("history.json", "train.json", "run.json")
_FILES = ("curves.png", "reliability.png", *_JSON)
OURS = ("model", ".model.tmp", "checkpoints", "logs", *(f".{name}.tmp" for name in _FILES), *_FILES)


@dataclass(frozen=True)
class Claim:
    """How a run may use its output directory. `earlier` is the run.json to go on from, None for a fresh start."""

    path: Path
    earlier: Mapping[str, Any] | None
    delete_first: bool


def check_output(options: Options, info: DatasetInfo) -> Claim:
    """Decide what this run may do with --output, changing nothing. UsageError says what is in the way."""
    path = Path(options.output)
    where = f"--output {path}"
    _check_writable(path, where)
    # A run killed while it wrote its very first file leaves that temporary file alone.
    if not path.exists() or all(entry.name == ".run.json.tmp" for entry in path.iterdir()):
        return Claim(path, None, delete_first=False)
    earlier = _read_run(path)
    if earlier is None:
        raise UsageError(f"{where}: is not empty and holds no training run of ours; give a new directory")
    if options.overwrite:
        return Claim(path, None, delete_first=True)
    if (path / "model").exists():
        raise UsageError(f"{where}: already holds a finished model; give --overwrite to replace it, or a new directory")
    way_out = "give the same options to continue it, --overwrite to start again, or a new directory"
    difference = first_difference(options, earlier["options"])
    if difference:
        name, then, now = difference
        raise UsageError(f"{where}: holds an interrupted run with --{name} {then}, now it is {now}; {way_out}")
    if earlier["dataset_fingerprint"] != info.fingerprint:
        raise UsageError(f"{where}: holds an interrupted run on another dataset than --dataset {info.path}; {way_out}")
    return Claim(path, earlier, delete_first=False)


def open_output(claim: Claim, options: Options, info: DatasetInfo, threads: int) -> None:
    """Make the directory ready: delete what may be deleted, write run.json. UsageError if it cannot be written."""
    try:
        claim.path.mkdir(parents=True, exist_ok=True)
        if claim.delete_first:
            delete_ours(claim.path)
        if claim.earlier is None:
            run = {
                "schema_version": SCHEMA_VERSION,
                "program": PROGRAM,
                "options": options.as_dict(),
                "dataset_fingerprint": info.fingerprint,
                "threads": threads,
            }
            write_json(claim.path / "run.json", run)
    except OSError as error:
        raise UsageError(
            f"--output {claim.path}: cannot be written ({error.strerror}); give another directory"
        ) from None


def delete_ours(path: Path) -> None:
    """Delete what this program writes, run.json last, and nothing else."""
    for name in OURS:
        target = path / name
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write beside and rename, so that a reader sees the old file or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _read_run(path: Path) -> Mapping[str, Any] | None:
    """run.json, if there is one and it is ours."""
    try:
        run = json.loads((path / "run.json").read_text(encoding="utf-8"))
        ours = run["program"] == PROGRAM and run["schema_version"] == SCHEMA_VERSION
        return run if ours and {"options", "dataset_fingerprint", "threads"} <= run.keys() else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _check_writable(path: Path, where: str) -> None:
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise UsageError(f"{where}: {existing} is a file; give a directory")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"{where}: {existing} is not writable; give another directory")
