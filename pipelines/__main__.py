"""One command for all: `isic-lesions prepare ...`, or `python -m pipelines prepare ...`."""

from __future__ import annotations

import contextlib
import difflib
import importlib.metadata
import runpy
import sys

from pipelines import __version__
from pipelines.common.cli import EXIT_USAGE, call_command

NAME = "isic-lesions"
# Name -> module that runs it, and what it is for.
COMMANDS = {
    "audit": ("pipelines.audit", "say what is wrong with an archive"),
    "prepare": ("pipelines.prepare", "turn labelled images into a dataset of TFRecords"),
    "verify": ("pipelines.verify", "check a dataset byte by byte, or compare two"),
    "show": ("pipelines.show", "look at images of a dataset"),
    "train": ("trainer.task", "train a network on a dataset"),
    "evaluate": ("trainer.evaluate", "say how good a model is, with intervals"),
    "experiment": ("trainer.experiment", "cross-validate a recipe of training"),
    "score": ("pipelines.score", "score an archive of images, night after night"),
    "sample": ("pipelines.demo.sample", "draw an archive to try all this on"),
}


def _usage() -> str:
    rows = "\n".join(f"  {name:<12}{what}" for name, (_, what) in COMMANDS.items())
    return f"usage: {NAME} [--version] COMMAND ...\n\n{rows}\n\n{NAME} COMMAND --help says more of one."


def _version() -> str:
    """Return this project's version, and those of what decides its bytes."""
    parts = [f"Python {sys.version.split()[0]}"]
    for package in ("apache-beam", "tensorflow", "pillow"):
        # Not all are installed where only some commands run.
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            parts.append(f"{package} {importlib.metadata.version(package)}")
    return f"{NAME} {__version__} ({', '.join(parts)})"


def main() -> None:
    """Run the command that the first argument names, with the arguments that follow."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h", "help"):
        print(_usage())
    elif name == "--version":
        print(_version())
    elif name in COMMANDS:
        call_command(f"{NAME} {name}")
        sys.argv = [sys.argv[0], *rest]
        # By name: the trainer is no part of the pipelines.
        runpy.run_module(COMMANDS[name][0], run_name="__main__")
    else:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        print(
            f"{NAME}: error: unknown command {name!r}{f' (nearest {near[0]})' if near else ''}; "
            f"there are {', '.join(COMMANDS)}",
            file=sys.stderr,
        )
        sys.exit(EXIT_USAGE)


if __name__ == "__main__":
    main()
