"""A disk that fills while a job writes: one line, nothing that looks finished, and a repetition works."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.storage.claims import TEMPORARY
from tests.support.commands import Command, besides_progress
from tests.support.scoring import export_untrained
from tests.support.small_disk import small_disk
from tests.support.tiny_dataset import write_dataset

pytestmark = pytest.mark.proof


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures in two classes that do not compress: 1.5 MB as stored."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for number in range(40):
        path = folder / ("nevus", "melanoma")[number % 2] / f"ISIC_{number:07d}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 255, (200, 300, 3), np.uint8)).save(path)
    return folder


@pytest.mark.parametrize(("kilobytes", "where"), [(300, "/packs/"), (2200, "/publish/")])
def test_prepare_names_the_place_and_what_is_missing(
    command: Command, images: Path, tmp_path: Path, kilobytes: int, where: str
) -> None:
    with small_disk(tmp_path / "disk", kilobytes) as disk:
        output = disk.path / "out"
        prepare = ("pipelines.prepare", "--input", images, "--output", output, "--classes", "melanoma,nevus")
        done = command(*prepare)
        assert done.returncode == 3, done.stderr
        (line,) = besides_progress(done.stderr)
        assert line.startswith(f"pipelines.prepare: {output}/{TEMPORARY}/")
        assert where in line
        assert " bytes are missing; make room there" in line
        assert {path.name for path in output.iterdir()} == {TEMPORARY}
        disk.resize(30_000)
        assert command(*prepare).returncode == 0
        assert command("pipelines.verify", output).returncode == 0


def test_score_names_the_place_and_what_is_missing(command: Command, images: Path, tmp_path: Path) -> None:
    model = export_untrained(write_dataset(tmp_path), tmp_path / "model", 1)
    with small_disk(tmp_path / "disk", 64) as disk:
        output = disk.path / "out"
        score = ("pipelines.score", "--input", images, "--model", model, "--output", output, "--report")
        done = command(*score)
        assert done.returncode == 3, done.stderr
        (line,) = besides_progress(done.stderr)
        assert "/_report.html: the disk is full: " in line
        assert {path.name for path in output.iterdir()} == {TEMPORARY}
        disk.resize(10_000)
        done = command(*score)
        assert done.returncode == 0, done.stderr
        assert "listed 40 = scored 40 + rejected 0" in done.stdout
