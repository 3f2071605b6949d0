"""A command whose job says that it has begun and then lasts until it is let go."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam

from pipelines.beam.quiet import quiet_beam
from pipelines.beam.runner import beam_options, running_pipeline
from pipelines.common.cli import run_command

# Nobody waits longer, whatever goes wrong.
_LIMIT = 120


def begun(folder: Path) -> Path:
    return folder / "begun"


def let_go(folder: Path) -> Path:
    return folder / "let go"


def command_of(folder: Path) -> tuple[str, Path]:
    """The module and argument of a command that runs it; `begun` becomes a pipe."""
    os.mkfifo(begun(folder))
    return "tests.support.lasting_job", folder


def _last(folder: str) -> None:
    # A pipe: whoever reads it has waited for this.
    begun(Path(folder)).write_text("begun")
    end = time.monotonic() + _LIMIT
    while not let_go(Path(folder)).exists() and time.monotonic() < end:
        time.sleep(0.05)


def main(argv: Sequence[str] | None) -> None:
    folder, *options = argv or ()
    quiet_beam()
    with running_pipeline(beam_options(options)) as pipeline:
        _ = pipeline | beam.Create([folder]) | beam.Map(_last)


if __name__ == "__main__":
    run_command("lasting_job", main, sys.argv[1:])
