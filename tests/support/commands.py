"""The commands as functions."""

from __future__ import annotations

import importlib
from collections.abc import Callable


def entry_point(module: str) -> Callable:
    """The `main` that `python -m MODULE` runs: of a package, what its `__main__` imports."""
    found = importlib.import_module(module)
    return importlib.import_module(f"{module}.__main__").main if hasattr(found, "__path__") else found.main
