"""Recipes: options of `trainer.task` in a JSON file. Imports no TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from pipelines.cli import UsageError
from trainer.options import Options


def check_recipe(values: Any, where: str) -> None:
    """UsageError, beginning with `where`, unless `values` holds options of a recipe by name, on-off ones as booleans.

    What numbers and words may be, `parse_options` says.
    """
    # Where things lie is no part of a recipe.
    known = {
        spec.name: spec.default
        for spec in fields(Options)
        if spec.metadata["resume"] or spec.name == "checkpoint_steps"
        if spec.default is not MISSING
    }
    if not isinstance(values, dict):
        raise UsageError(f"{where}: holds no JSON object; give {{option: value, ...}}")
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"{where}: '{name}' is not an option of a recipe; these are: {', '.join(known)}")
        # A command line would say it in words of its own: there is no --no-epochs.
        switch = isinstance(known[name], bool)
        if switch != isinstance(value, bool) or not isinstance(value, str | int | float):
            kind = "true or false" if switch else "a number" if isinstance(known[name], int | float) else "text"
            raise UsageError(f"{where}: '{name}' is {json.dumps(value)}; give {kind}")


def read_config(path: str) -> dict[str, Any]:
    """The options in a `--config` file. UsageError if it cannot be read or holds what cannot be chosen there."""
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except OSError as error:
        raise UsageError(f"--config {path}: cannot be read ({error.strerror}); name a JSON file") from None
    except ValueError as error:
        raise UsageError(f"--config {path}: is not JSON ({error})") from None
    check_recipe(values, f"--config {path}")
    return values


def as_arguments(values: Mapping[str, Any]) -> list[str]:
    """Options as a command line gives them."""
    arguments = []
    for name, value in values.items():
        if isinstance(value, bool):
            arguments.append(f"--{name}" if value else f"--no-{name}")
        else:
            arguments.append(f"--{name}={value}")
    return arguments
