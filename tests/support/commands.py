"""The commands as functions."""

from __future__ import annotations

import importlib
import re
import subprocess
from collections.abc import Callable
from typing import Any

# Takes a module, its arguments and `env`, what to add to the environment; gives exit code, stdout and stderr.
Command = Callable[..., subprocess.CompletedProcess[str]]

# What commands say of their progress, after their names.
_PROGRESS = re.compile(
    r"(\S+: )?(reading .*|listing|(checking|scoring) [\d,]+ \w+|grouping|writing( [\d,]+ examples)?|describing|"
    r"loading .*|classifying [\d,]+ images|computing figures and intervals|running both graphs|starting TensorFlow|"
    r"compiling .*)"
)


def besides_progress(stderr: str) -> list[str]:
    """The lines that a command writes to stderr beside those about its progress."""
    return [line for line in stderr.splitlines() if not _PROGRESS.fullmatch(line)]


def entry_point(module: str) -> Callable[..., Any]:
    """The `main` that `python -m MODULE` runs: of a package, what its `__main__` imports."""
    found = importlib.import_module(module)
    return importlib.import_module(f"{module}.__main__").main if hasattr(found, "__path__") else found.main
