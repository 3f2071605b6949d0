"""The output directory of a training run: what is ours in it, whether its run can continue, and what may be deleted.

.unfinished/  claim of the run that is writing (see `pipelines.common.claims`); it goes when the command ends
run.json      written first: options, dataset fingerprint, threads; marks the directory as ours
checkpoints/  logs/  history.json   written during training
train.json    figures of the finished run
curves.png    loss, accuracy and learning rate by epoch
reliability.png  confidence against accuracy, before and after calibration
model/        renamed into place last; its presence means that the run is finished
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.common.claimed_folder import without_claim
from pipelines.common.cli import UsageError
from trainer.config.options import TrainOptions, first_difference
from trainer.data.dataset_info import DatasetInfo

PROGRAM = "trainer.task"
SCHEMA_VERSION = 1
RUN = "run.json"
_JSON = ("history.json", "train.json", RUN)
_FILES = ("curves.png", "reliability.png", *_JSON)
OURS = ("model", ".model.tmp", "checkpoints", "logs", *(f".{name}.tmp" for name in _FILES), *_FILES)


@dataclass(frozen=True)
class RunPlan:
    """What a run may do with its output directory."""

    path: Path  # where the run writes
    place: str  # the value of --output, which is not `path` if it is in a bucket
    earlier: Mapping[str, Any] | None  # run.json of the run to continue; None: start a new run
    delete_first: bool  # delete the earlier run


def check_output(options: TrainOptions, info: DatasetInfo) -> RunPlan:
    """Return what this run may do with --output, without changing anything.

    Raises:
        UsageError: If the directory cannot be used; the message says why.
    """
    path = Path(options.output)
    _check_writable(path, f"--output {path}")
    names = without_claim({entry.name for entry in path.iterdir()}, path) if path.exists() else set()
    document = path / RUN
    return plan_output(options, info, path, names, document.read_bytes() if document.is_file() else None)


def plan_output(
    options: TrainOptions, info: DatasetInfo, path: Path, names: Collection[str], run: bytes | None
) -> RunPlan:
    """Return what this run may do with --output.

    Args:
        options: Options of this run.
        info: Dataset of this run.
        path: Local directory that the run will write to.
        names: Names of the files and folders in --output but the claim; `model` only if it is complete.
        run: Content of run.json in --output; None if there is none.

    Raises:
        UsageError: If --output cannot be used; the message says why.
    """
    where = f"--output {options.output}"
    # A run killed while writing its very first file leaves only that temporary file behind, and its claim.
    if set(names) <= {f".{RUN}.tmp"}:
        return RunPlan(path, options.output, None, delete_first=False)
    earlier = _parse_run(run)
    if earlier is None:
        raise UsageError(f"{where}: is not empty and holds no training run of ours; give a new directory")
    if options.overwrite:
        return RunPlan(path, options.output, None, delete_first=True)
    if "model" in names:
        raise UsageError(f"{where}: already holds a finished model; give --overwrite to replace it, or a new directory")
    way_out = "give the same options to continue it, --overwrite to start again, or a new directory"
    difference = first_difference(options, earlier["options"])
    if difference:
        name, then, now = difference
        raise UsageError(f"{where}: holds an interrupted run with --{name} {then}, now it is {now}; {way_out}")
    if earlier["dataset_fingerprint"] != info.fingerprint:
        raise UsageError(f"{where}: holds an interrupted run on another dataset than --dataset {info.place}; {way_out}")
    return RunPlan(path, options.output, earlier, delete_first=False)


def open_output(plan: RunPlan, options: TrainOptions, info: DatasetInfo, threads: int) -> None:
    """Prepare the output directory: delete an earlier run if the plan says so; write run.json for a new run.

    Args:
        plan: Result of `check_output` or `plan_output`.
        options: Options of this run.
        info: Dataset of this run.
        threads: Number of TensorFlow threads, which a continued run keeps.

    Raises:
        UsageError: If the directory cannot be written.
    """
    try:
        plan.path.mkdir(parents=True, exist_ok=True)
        if plan.delete_first:
            delete_ours(plan.path)
        if plan.earlier is None:
            run = {
                "schema_version": SCHEMA_VERSION,
                "program": PROGRAM,
                "options": options.as_dict(),
                "dataset_fingerprint": info.fingerprint,
                "threads": threads,
            }
            write_json(plan.path / RUN, run)
    except OSError as error:
        raise UsageError(
            f"--output {plan.path}: cannot be written ({error.strerror}); give another directory"
        ) from None


def delete_ours(path: Path) -> None:
    """Delete the files that this program writes, run.json last, and nothing else."""
    for name in OURS:
        target = path / name
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file beside its place and rename it, so that a reader sees the old file or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _parse_run(document: bytes | None) -> Mapping[str, Any] | None:
    """Return the content of run.json, or None unless this program wrote it."""
    try:
        run = json.loads(document or b"")
        ours = run["program"] == PROGRAM and run["schema_version"] == SCHEMA_VERSION
        return run if ours and {"options", "dataset_fingerprint", "threads"} <= run.keys() else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _check_writable(path: Path, where: str) -> None:
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise UsageError(f"{where}: {existing} is a file; give a directory")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"{where}: {existing} is not writable; give another directory")
