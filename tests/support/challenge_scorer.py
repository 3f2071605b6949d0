"""The ISIC challenge's own scorer, and truth files for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# isic-challenge-scoring 5.6, the last for Python before 3.13, calls `applymap`, which pandas 3 knows as `map` only.
_PROGRAM = """
import pandas
from isic_challenge_scoring.__main__ import cli

pandas.DataFrame.applymap = pandas.DataFrame.map
cli()
"""


def scorer(folder: Path, truth: Path, submission: bytes) -> subprocess.CompletedProcess[str]:
    """`isic-challenge-scoring classification` on a submission's bytes; gives the process."""
    (folder / "submission.csv").write_bytes(submission)
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, *("--output", "json"), "classification", truth, folder / "submission.csv"],
        check=False,
        capture_output=True,
        text=True,
    )


def write_truth(path: Path, header: list[str], shown: dict[str, str]) -> Path:
    """A truth file: image id -> column that is 1.0."""
    lines = [[image, *(str(float(column == label)) for column in header[1:])] for image, label in shown.items()]
    path.write_text("\n".join(",".join(line) for line in [header, *lines]) + "\n")
    return path
