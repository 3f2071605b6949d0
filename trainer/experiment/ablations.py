"""Read the changes of a recipe that `trainer.experiment --changes` compares with it.

Imports no TensorFlow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.common.cli import UsageError
from trainer.config.recipes import check_recipe

# Datasets that a change may use: the dataset itself, the one with stored augmented copies, and the latter leaked.
DATASETS = ("plain", "balanced", "leaky")
_NAME = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of the recipe: one line of the ablation table."""

    name: str
    says: str  # the text of the line
    options: Mapping[str, Any]  # those that differ from the base
    dataset: str = "plain"  # one of DATASETS


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """The changes of a recipe, and the base that they are compared with."""

    # Options that replace the recipe's own: usually fewer epochs, so that many changes can be tried. Empty for the
    # recipe as it is.
    base: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()


# The base itself, with no change.
UNCHANGED = Change(name="base", says="", options={})


def leaky_fingerprint(fingerprint: str, fold: int, seed: int = 0) -> str:
    """Return the fingerprint of the dataset that `trainer.experiment.leaky_dataset` makes from a balanced one.

    Args:
        fingerprint: The fingerprint of the balanced dataset.
        fold: The fold left out.
        seed: The seed of the random split.
    """
    return f"leaky-{seed}-{fold}-{fingerprint}"


def is_leaky(fingerprint: str) -> bool:
    """Return whether a fingerprint is that of a leaky dataset."""
    return fingerprint.startswith("leaky-")


def read_changes(path: Path) -> Ablation:
    """Read the changes in a JSON file.

    The file holds {"changes": [{"name", "says", "options"[, "dataset"]}, ...][, "base": {...}]}.

    Raises:
        UsageError: The file cannot be read, has another form, or has a name twice.
    """
    where = f"--changes {path}"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        lines = values.get("changes") if isinstance(values, dict) and values.keys() <= {"base", "changes"} else None
        if not (isinstance(lines, list) and all(isinstance(line, dict) for line in lines)):
            raise ValueError('not {"changes": [{"name": ..., "says": ..., "options": {...}}, ...]}')
        changes = tuple(Change(**line) for line in lines)
    except OSError as error:
        raise UsageError(f"{where}: cannot be read ({error.strerror}); name a JSON file") from None
    except (ValueError, TypeError) as error:
        raise UsageError(f"{where}: is no list of changes ({error}); see trainer/config/changes.json") from None
    base = values.get("base", {})
    check_recipe(base, f"{where}, {UNCHANGED.name}")
    for change in changes:
        if not (isinstance(change.name, str) and _NAME.fullmatch(change.name)):
            raise UsageError(f"{where}: '{change.name}' is no name; use small letters, digits and underscores")
        if not isinstance(change.says, str):
            raise UsageError(f"{where}, {change.name}: 'says' is {json.dumps(change.says)}; give text for the table")
        check_recipe(change.options, f"{where}, {change.name}")
        if change.dataset not in DATASETS:
            raise UsageError(f"{where}: '{change.dataset}' is no dataset; one of {', '.join(DATASETS)}")
    names = [UNCHANGED.name, *(change.name for change in changes)]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{where}: has '{name}' twice")
    return Ablation(base=base, changes=changes)
