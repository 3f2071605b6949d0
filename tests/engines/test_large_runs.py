"""The 9-class set and 5,000 images on each engine, with 1, 2 and 4 slots: the same bytes and scores."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.prepare_inputs import Archives
from deploy.engines.engine import Engine
from tests.engines.test_same_results import ALL, same_scores
from tests.support.commands import Command
from tests.support.engines import Inputs, digests
from tests.support.scoring import only_partition

pytestmark = [pytest.mark.engines, pytest.mark.engines_long]

SETS = ("isic9", "5,000 images")


class Large(NamedTuple):
    """Many images, and what the local runner makes of them."""

    images: Path
    prepare: tuple[object, ...]  # command lines without their output
    score: tuple[object, ...]
    digests: dict[str, str]
    scores: Path


@pytest.fixture(scope="session")
def large(
    shared_data: Path, inputs: Inputs, process: Command, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Large]:
    """Makes one of SETS."""

    @functools.cache
    def made(name: str) -> Large:
        folder = tmp_path_factory.mktemp("large")
        images = shared_data / "isic9" / "Train"
        labels: tuple[object, ...] = ()
        if name != "isic9":
            images, table, _ = Archives(folder, images).of(5000)
            labels = ("--metadata", table)
        prepare = ("pipelines.prepare", "--input", images, *labels, "--image_size", 64, "--small_classes", "reject")
        score = ("pipelines.score", "--input", images, "--model", inputs.model, "--report")
        for arguments, output in ((prepare, "dataset"), (score, "scores")):
            done = process(*arguments, "--output", folder / output)
            assert done.returncode == 0, done.stderr
        found = digests(folder / "dataset", *ALL)
        assert len(found) > 8
        return Large(images, prepare, score, found, only_partition(folder / "scores"))

    return made


@pytest.mark.parametrize("slots", [1, 2, 4])
@pytest.mark.parametrize("name", SETS)
def test_prepare_of_many_images_gives_the_same_bytes(
    engine: Engine, large: Callable[[str], Large], process: Command, tmp_path: Path, name: str, slots: int
) -> None:
    output = tmp_path / "out"
    done = process(*large(name).prepare, "--output", output, *engine.options, *engine.set_slots(slots))
    assert done.returncode == 0, done.stderr
    assert digests(output, *ALL) == large(name).digests


@pytest.mark.parametrize("name", SETS)
def test_score_of_many_images_gives_the_same_scores(
    engine: Engine, large: Callable[[str], Large], process: Command, tmp_path: Path, name: str
) -> None:
    output = tmp_path / "out"
    done = process(*large(name).score, "--output", output, *engine.options, *engine.set_slots(4))
    assert done.returncode == 0, done.stderr
    images = str(large(name).images)
    same_scores(only_partition(output), large(name).scores, images, images)
