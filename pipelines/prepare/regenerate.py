"""The command that makes a dataset again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from pipelines.prepare.options import PrepareOptions, build_parser

# Where the output lies and how the job runs. --update is --splits_from as soon as there is a dataset to build on.
_CHANGE_NO_BYTE = frozenset({"output", "overwrite", "update", "threads", "memory_budget"})


def _words(option: str, value: Any) -> Iterator[str]:
    if value is True:
        yield option
        return
    for text in map(str, value if isinstance(value, list) else [value]):
        # A value that begins with a hyphen would be read as an option.
        yield from [f"{option}={text}"] if text.startswith("-") else [option, text]


def regenerating_command(options: PrepareOptions) -> str:
    """Return the command that makes the same dataset in a folder COPY.

    It has the options that differ from their defaults, in the parser's order, with the paths that the user gave. Those
    that change no byte are left out. A dataset that has grown keeps its splits: the command takes them from that
    dataset, written as DATASET.
    """
    parser = build_parser()
    given = {**options.given, "splits_from": "DATASET" if options.splits_from else ""}
    words = [
        word
        for name, value in given.items()
        if name not in _CHANGE_NO_BYTE and value != parser.get_default(name)
        for word in _words(f"--{name}", value)
    ]
    return shlex.join(["python", "-m", "pipelines.prepare", *words, "--output", "COPY"])
