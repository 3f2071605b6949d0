"""Our three jobs on an engine or on the local runner, and what they leave."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.commands import Command

BUCKET = "lesions"
SIZE = 32


@dataclass(frozen=True)
class Inputs:
    """Where a sample (`pipelines.demo.sample`) and a model lie, here or in a bucket; archive: what of it is scored."""

    sample: str
    model: str
    archive: str = "archive"


IN_BUCKET = Inputs(f"gs://{BUCKET}/sample", f"gs://{BUCKET}/model")


@dataclass(frozen=True)
class Places:
    """What the local runner said, and below `folder` what it has written: dataset, audit, scores."""

    prepared: subprocess.CompletedProcess[str]
    audited: subprocess.CompletedProcess[str]
    scored: subprocess.CompletedProcess[str]
    folder: Path


def prepare_arguments(inputs: Inputs, output: str) -> tuple[object, ...]:
    return (
        *("pipelines.prepare", "--input", f"{inputs.sample}/images", "--metadata", f"{inputs.sample}/metadata.csv"),
        *("--output", output, "--image_size", SIZE),
    )


def prepare(
    command: Command, inputs: Inputs, output: str, *more: object, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return command(*prepare_arguments(inputs, output), *more, env=env)


def audit(
    command: Command, inputs: Inputs, output: str, *more: object, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return command(
        *("pipelines.audit", "--input", f"{inputs.sample}/images", "--metadata", f"{inputs.sample}/metadata.csv"),
        *("--output", output, *more),
        env=env,
    )


def score_arguments(inputs: Inputs, output: str) -> tuple[object, ...]:
    return (
        *("pipelines.score", "--input", f"{inputs.sample}/{inputs.archive}", "--model", inputs.model),
        *("--output", output, "--run", "night", "--report"),
    )


def score(
    command: Command, inputs: Inputs, output: str, *more: object, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return command(*score_arguments(inputs, output), *more, env=env)


def digests(folder: Path, *names: str) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for name in names for path in folder.glob(name)}
