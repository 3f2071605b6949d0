"""Read recipes: options of `trainer.task` in a JSON file. Imports no TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from pipelines.common.cli import UsageError
from trainer.config.options import TrainOptions


def check_recipe(values: Any, where: str) -> None:
    """Raise UsageError unless `values` is a recipe: a JSON object of known options.

    On-off options must be booleans. `parse_options` checks the ranges of numbers and the choices of words.

    Args:
        values: Parsed JSON of any type.
        where: Source of the values, with which the message begins.

    Raises:
        UsageError: If `values` is not a recipe.
    """
    # Paths and other options of one machine do not belong in a recipe.
    known = {
        spec.name: spec.default
        for spec in fields(TrainOptions)
        if spec.metadata["resume"] or spec.name == "checkpoint_steps"
        if spec.default is not MISSING
    }
    if not isinstance(values, dict):
        raise UsageError(f"{where}: holds no JSON object; give {{option: value, ...}}")
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"{where}: '{name}' is not an option of a recipe; these are: {', '.join(known)}")
        # Checked here, because argparse would complain about options that do not exist, such as --no-epochs.
        switch = isinstance(known[name], bool)
        if switch != isinstance(value, bool) or not isinstance(value, str | int | float):
            kind = "true or false" if switch else "a number" if isinstance(known[name], int | float) else "text"
            raise UsageError(f"{where}: '{name}' is {json.dumps(value)}; give {kind}")


def read_recipe(path: str) -> dict[str, Any]:
    """Return the options in a recipe, the file of `--recipe`.

    Raises:
        UsageError: If the file cannot be read, is not JSON or is not a recipe.
    """
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except OSError as error:
        raise UsageError(f"--recipe {path}: cannot be read ({error.strerror}); name a JSON file") from None
    except ValueError as error:
        raise UsageError(f"--recipe {path}: is not JSON ({error})") from None
    check_recipe(values, f"--recipe {path}")
    return values


def as_arguments(values: Mapping[str, Any]) -> list[str]:
    """Return options as command-line arguments.

    Args:
        values: Option name -> value, as `read_recipe` returns them.
    """
    arguments = []
    for name, value in values.items():
        if isinstance(value, bool):
            arguments.append(f"--{name}" if value else f"--no-{name}")
        else:
            arguments.append(f"--{name}={value}")
    return arguments
