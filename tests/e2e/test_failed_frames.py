"""Frames that came out black count against --max_reject_fraction, and masks of photographs do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.commands import Command
from tests.support.image_files import encode, photograph


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs of each of two classes with their masks, and two black frames."""
    root = tmp_path_factory.mktemp("frames") / "set"
    black = np.zeros((48, 64, 3), np.uint8)
    lesion = np.pad(np.full((24, 32, 3), 255, np.uint8), ((12, 12), (16, 16), (0, 0)))
    for n in range(6):
        name = f"{('melanoma', 'nevus')[n % 2]}/lesion {n}"
        files = {f"{name}.jpg": encode(photograph(64 + 9 * n, 48, n)), f"masks/{name}.png": encode(lesion, "PNG")}
        for relative, data in files.items() if n < 4 else [(f"{name}.jpg", encode(black))]:
            path = root / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return root


@pytest.mark.parametrize(
    ("job", "options"),
    [
        ("pipelines.audit", ("--max_reject_fraction", 0.25)),
        ("pipelines.prepare", ("--image_size", 32, "--balance", "none")),
    ],
)
def test_black_frames_are_a_failed_run_and_masks_are_not(
    command: Command, frames: Path, tmp_path: Path, job: str, options: tuple
) -> None:
    given = ("--input", frames, "--classes", "melanoma,nevus", "--split_fractions", "1,0,0")
    done = command(job, *given, *options, "--output", tmp_path / "out")
    assert done.returncode == 1, done.stderr
    assert "2 of 6 files rejected, more than --max_reject_fraction 0.25" in done.stderr
    assert "  blank: 2\n" in done.stdout
    assert "  mask: 4\n" in done.stdout
