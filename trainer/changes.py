"""The changes of a recipe that `trainer.experiment --changes` compares with it. Imports no TensorFlow."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.cli import UsageError
from trainer.options import check_recipe

# What a change may be made on: the dataset itself, the one with stored augmented copies, and that one leaked.
DATASETS = ("plain", "balanced", "leaky")
_NAME = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One line of the ablation table: what it says, and the options that differ from the recipe's."""

    name: str
    says: str
    options: Mapping[str, Any]
    dataset: str = "plain"


def read_changes(path: Path) -> list[Change]:
    """The changes in a JSON file: a list of {"name", "says", "options"[, "dataset"]}. UsageError if it is no such."""
    where = f"--changes {path}"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not (isinstance(values, list) and all(isinstance(value, dict) for value in values)):
            raise ValueError('not [{"name": ..., "says": ..., "options": {...}}, ...]')
        changes = [Change(**value) for value in values]
    except OSError as error:
        raise UsageError(f"{where}: cannot be read ({error.strerror}); name a JSON file") from None
    except (ValueError, TypeError) as error:
        raise UsageError(f"{where}: is no list of changes ({error}); see trainer/configs/changes.json") from None
    for change in changes:
        if not (isinstance(change.name, str) and _NAME.fullmatch(change.name)):
            raise UsageError(f"{where}: '{change.name}' is no name; use small letters, digits and underscores")
        if not isinstance(change.says, str):
            raise UsageError(f"{where}, {change.name}: 'says' is {json.dumps(change.says)}; give text for the table")
        check_recipe(change.options, f"{where}, {change.name}")
        if change.dataset not in DATASETS:
            raise UsageError(f"{where}: '{change.dataset}' is no dataset; one of {', '.join(DATASETS)}")
    names = [change.name for change in changes]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{where}: has '{name}' twice")
    return changes
