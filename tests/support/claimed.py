"""Claims on outputs, of processes that have ended and of processes elsewhere."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def claim_of(folder: Path) -> Path:
    return folder / ".unfinished" / "claim.json"


def change_process(folder: Path, **changes: Any) -> None:
    """Let the claim on a folder be that of another process."""
    path = claim_of(folder)
    claim, written = json.loads(path.read_text()), path.stat().st_mtime
    claim["process"].update(changes)
    path.write_text(json.dumps(claim) + "\n")
    os.utime(path, (written, written))


def end(folder: Path) -> None:
    """Let the process that has claimed a folder have ended: its number, if in use again, has another start."""
    change_process(folder, started="0")


def go_elsewhere(folder: Path, silent: float) -> None:
    """Let the claim be of a process on another machine that gave its last sign of life so many seconds ago."""
    change_process(folder, host="elsewhere", boot="another")
    written = claim_of(folder).stat().st_mtime - silent
    os.utime(claim_of(folder), (written, written))
