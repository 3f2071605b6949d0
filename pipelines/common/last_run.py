"""How long the last run of a job took on this machine: what to expect of the next one."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from pipelines.common.console import duration

# A run of fewer files has mostly started.
LEAST_FILES = 500


def _file() -> Path:
    """Return the file that keeps it, as the XDG Base Directory Specification places what can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isic-lesions/last_runs.json"


def _read() -> dict[str, dict[str, float]]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(_file().read_text("utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def note(job: str, files: int, seconds: float) -> None:
    """Keep how long a run took, unless it was too small to tell. Nothing is kept where nothing can be written.

    Args:
        job: Its name, such as `prepare`.
        files: Files that it listed.
        seconds: Wall time.
    """
    if files < LEAST_FILES:
        return
    content = json.dumps({**_read(), job: {"files": files, "seconds": round(seconds, 1)}})
    # There may be no home, or another run may replace the file at the same time.
    with contextlib.suppress(OSError, RuntimeError):
        path = _file()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        partial.write_text(content, "utf-8")
        partial.replace(path)


def dry_run_lines(job: str, files: int) -> list[str]:
    """Return the last lines of a dry run: how long a run will take here, and that this was none.

    Args:
        job: Its name.
        files: Files that it will read.
    """
    last = _read().get(job)
    expected = "no earlier run on this machine tells how long it will take"
    if last:
        longest = last["seconds"] * max(1.0, files / last["files"])
        expected = (
            f"about {duration(longest)} at most: the last run on this machine took {duration(last['seconds'])} for "
            f"{last['files']:,} files"
        )
    return [expected, "dry run: no image was read, and nothing written"]
