"""Pictures of a run: learning curves and reliability diagrams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.export.calibration import reliability
from trainer.task.plots import draw_curves, draw_reliability
from trainer.training.checkpoint import EpochRecord

RECORD = EpochRecord(1, 0.5, 0.6, 0.7, 64, 1e-3, 100.0, 2.0)


def test_curves_are_a_picture(tmp_path: Path) -> None:
    draw_curves([RECORD, EpochRecord(2, 0.4, 0.5, 0.8, 64, 5e-4, 100.0, 2.0)], 2, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 2 * picture.height > 400
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_the_diagram_is_a_picture_of_every_table(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 300)
    before, after = (reliability(random.dirichlet([spread] * 4, 300), labels) for spread in (0.2, 1.0))
    sizes = []
    for panels in ({"one": before}, {"one": before, "other": after}, {"none": before[:1]}):
        draw_reliability(panels, tmp_path / "picture.png")
        sizes.append(Image.open(tmp_path / "picture.png").size)
    assert sizes[1][0] == pytest.approx(2 * sizes[0][0], rel=0.01)
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]
