"""What seems right and is not is said: frames that failed, masks of photographs, a lesion of many images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.browser import parse
from tests.support.commands import Command
from tests.support.image_files import encode, photograph


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photographs of each of two classes with their masks, all of one lesion; and three black frames."""
    root = tmp_path_factory.mktemp("frames") / "set"
    black = np.zeros((48, 64, 3), np.uint8)
    lesion = np.pad(np.full((24, 32, 3), 255, np.uint8), ((12, 12), (16, 16), (0, 0)))
    for n in range(9):
        name = f"{('melanoma', 'nevus')[n % 2]}/lesion {n}"
        files = {f"{name}.jpg": encode(photograph(64 + 9 * n, 48, n)), f"masks/{name}.png": encode(lesion, "PNG")}
        for relative, data in files.items() if n < 6 else [(f"{name}.jpg", encode(black))]:
            path = root / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    rows = [f"lesion {n},see notes" for n in range(6)]
    (root / "metadata.csv").write_text("\n".join(["image_id,lesion_id", *rows]) + "\n")
    return root


@pytest.mark.parametrize(
    ("job", "options"),
    [
        ("pipelines.audit", ("--max_reject_fraction", 0.25)),
        ("pipelines.prepare", ("--image_size", 32, "--balance", "none")),
    ],
)
def test_black_frames_fail_the_run_masks_do_not_and_a_frequent_lesion_is_noted(
    command: Command, frames: Path, tmp_path: Path, job: str, options: tuple
) -> None:
    given = ("--input", frames, "--classes", "melanoma,nevus", "--split_fractions", "1,0,0")
    done = command(job, *given, *options, "--output", tmp_path / "out")
    assert done.returncode == 1, done.stderr
    assert "3 of 9 files rejected, more than --max_reject_fraction 0.25" in done.stderr
    assert "  blank: 3\n" in done.stdout
    assert "  mask: 6\n" in done.stdout
    assert "note: 'see notes' is the lesion of 6 of 6 images, which share a split" in done.stdout
    page = " ".join(parse((tmp_path / "out/report.html").read_text()).text().split())
    assert "see notes is the lesion of 6 of 6 images." in page
