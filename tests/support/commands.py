"""The commands as functions."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Callable
from typing import Any

# Takes a module, its arguments and `env`, what to add to the environment; gives exit code, stdout and stderr.
Command = Callable[..., subprocess.CompletedProcess[str]]


def entry_point(module: str) -> Callable[..., Any]:
    """The `main` that `python -m MODULE` runs: of a package, what its `__main__` imports."""
    found = importlib.import_module(module)
    return importlib.import_module(f"{module}.__main__").main if hasattr(found, "__path__") else found.main
