"""Read paths that were written on Windows: with backslashes, and on drives that this machine does not have."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from pipelines.storage import filesystem

# `C:\data\x.jpg`, `C:/data/x.jpg`, `\\server\share\x.jpg`; `/C:/data/x.jpg` is what `file:///C:/data/x.jpg` names.
_DRIVE = re.compile(r"^(?:/?[A-Za-z]:[\\/]|\\\\[^\\]+\\)")


class NotHereError(ValueError):
    """A path on a Windows drive whose file is not found on this machine; the message names it and the remedy."""


def _is_windows(path: str) -> bool:
    return "\\" in path or bool(_DRIVE.match(path))


def _outside(path: str, folder: str) -> str:
    """Return the start of a drive's path that stands for a folder here: what remains is found below that folder.

    Args:
        path: A path on a Windows drive.
        folder: The folder of the list that names it.

    Raises:
        NotHereError: If no part of the path is found there.
    """
    parts = re.split(r"[\\/]", path)
    for start in range(1, len(parts)):
        if parts[start] and filesystem.exists(filesystem.join(folder, *parts[start:])):
            return path[: sum(len(part) + 1 for part in parts[:start])]
    raise NotHereError(
        f"lists {path}, a path on a Windows drive that this machine does not have, nor does {folder or 'the folder'} "
        "beside the list hold it; write paths relative to the list"
    )


def translated(paths: Iterable[str], folder: str) -> Iterator[str]:
    r"""Yield the paths of a list as this machine writes them; other paths than those of Windows are left alone.

    `train\a.jpg` is `train/a.jpg`, unless a file has this very name. Of paths on a drive, the first decides what stands
    for the list's own folder: `C:\data\train\a.jpg` is `train/a.jpg` if that lies beside the list. This holds for all
    that begin alike.

    Args:
        paths: The paths as written in the list.
        folder: The folder of the list.

    Raises:
        NotHereError: If a path on a drive begins otherwise, and its file is not beside the list.
    """
    outside = ""
    for path in paths:
        if os.name == "nt" or not _is_windows(path) or "://" in path:
            yield path
        elif not _DRIVE.match(path):
            yield path if filesystem.exists(filesystem.join(folder, path)) else path.replace("\\", "/")
        else:
            if not outside or not path.startswith(outside):
                outside = _outside(path, folder)
            yield path[len(outside) :].replace("\\", "/")
