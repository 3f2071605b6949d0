"""How much memory a command takes that is given files made to take as much as possible."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest

from tests.support.image_files import encode, photograph, png

SIDE = 8000
GB = 1 << 30
# Runs a command and prints its peak memory. A process inherits the peak of whoever starts it; this one is small.
PEAK = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def large_png(seed: int) -> bytes:
    """A small file of 64 megapixels: stripes, each row like the one above."""
    packer = zlib.compressobj(1)
    rows = packer.compress(b"\0" + random.Random(seed).randbytes(3 * SIDE))
    rows += packer.compress((b"\2" + bytes(3 * SIDE)) * (SIDE - 1)) + packer.flush()
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return png([(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")])


@pytest.mark.proof
def test_large_images_and_a_zip_bomb_stay_within_the_budget_of_four_threads(tmp_path: Path) -> None:
    for name in ("nevus", "melanoma"):
        folder = tmp_path / "in" / name
        folder.mkdir(parents=True)
        for number in range(6):
            (folder / f"{number}.jpg").write_bytes(encode(photograph(200, 150, len(name) + 10 * number)))
        for number in range(2):
            (folder / f"large{number}.png").write_bytes(large_png(len(name) + number))
    with (
        zipfile.ZipFile(tmp_path / "in" / "nevus" / "bomb.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("bomb.jpg", "w") as member,
    ):
        for _ in range(900):
            member.write(bytes(1 << 20))
    command = [sys.executable, "-m", "pipelines.prepare", "--input", str(tmp_path / "in")]
    command += ["--output", str(tmp_path / "out"), "--threads", "4", "--classes", "nevus,melanoma"]
    command += ["--max_reject_fraction", "1", "--balance", "none", "--split_fractions", "1,0,0"]
    done = subprocess.run([sys.executable, "-c", PEAK, *command], stdout=subprocess.PIPE, check=False)
    assert done.returncode == 0
    rejects = b"".join(file.read_bytes() for file in (tmp_path / "out").glob("rejects-*.jsonl")).splitlines()
    assert [(row["path"][-8:], row["reason"]) for row in map(json.loads, rejects)] == [("bomb.jpg", "not_an_image")]
    assert int(done.stdout) * 1024 < 1.2 * GB, done.stdout
