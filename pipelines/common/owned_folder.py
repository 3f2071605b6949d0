"""Temporary folders whose owner is known, so that the next command removes those of one that was killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipelines.common.process import Process, is_gone, this_process

_PREFIX = "lesions-"
_OWNER, _CONTENT = "owner.json", "content"


@contextlib.contextmanager
def owned_folder(kind: str) -> Iterator[Path]:
    """Make an empty temporary folder for the block, and remove those of the same kind that nobody owns any more.

    Args:
        kind: What it is for; a part of its name.

    Yields:
        The folder.
    """
    for folder in _abandoned(kind):
        shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{kind}-") as name:
        Path(name, _OWNER).write_text(json.dumps(this_process()._asdict()), encoding="utf-8")
        content = Path(name, _CONTENT)
        content.mkdir()
        yield content


def _abandoned(kind: str) -> Iterator[Path]:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}{kind}-*"):
        # Another user's, or what only looks like ours, is left alone.
        with contextlib.suppress(OSError, ValueError, TypeError):
            status = (folder / _OWNER).lstat()
            owner = Process(**json.loads((folder / _OWNER).read_bytes()))
            if status.st_uid == os.geteuid() and not folder.is_symlink() and is_gone(owner, status.st_mtime):
                yield folder
