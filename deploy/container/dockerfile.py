"""Read a Dockerfile: its stages, and what each is built of. It knows the instructions that ours have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# (INSTRUCTION, its text)
Instruction = tuple[str, str]


@dataclass(frozen=True)
class Stage:
    """A stage: what it is built on, another stage or an image, and its instructions."""

    base: str
    instructions: tuple[Instruction, ...]


def read_stages(path: Path) -> dict[str, Stage]:
    """Return the stages of a Dockerfile by name; each must have one.

    Comments are left out and continued lines joined.
    """
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    stages: dict[str, Stage] = {}
    for word, _, rest in (line.partition(" ") for line in joined.splitlines()):
        if word.upper() == "FROM":
            base, _, name = rest.partition(" AS ")
            stages[name] = Stage(base, ())
        else:
            name, stage = stages.popitem()
            stages[name] = Stage(stage.base, (*stage.instructions, (word.upper(), rest)))
    return stages


def lineage(stages: dict[str, Stage], name: str) -> list[Instruction]:
    """Return the instructions of a stage and of all stages that it is built on, first to last."""
    stage = stages[name]
    return [*(lineage(stages, stage.base) if stage.base in stages else ()), *stage.instructions]


def image_of(stages: dict[str, Stage], name: str) -> str:
    """Return the image on which a stage and those under it are built."""
    base = stages[name].base
    return image_of(stages, base) if base in stages else base


def copied(instructions: list[Instruction]) -> Iterator[tuple[list[str], str]]:
    """Yield what instructions take from the folder that is built: (sources, destination)."""
    for word, rest in instructions:
        if word == "COPY" and not rest.startswith("--from"):
            *sources, destination = rest.split()
            yield sources, destination
