"""Know the files and folders that systems leave among images: thumbnails, recycle bins, resource forks, hidden ones."""

from __future__ import annotations

import functools
import re

# Folders of thumbnails, deleted files and other droppings; some hold images that nobody put there.
_FOLDERS = frozenset(
    name.lower()
    for name in (
        *("@eaDir", "#recycle", "#snapshot", "~snapshot", "@Recycle", "@Recently-Snapshot", ".@__thumb", "@tmp"),  # NAS
        *("@sharebin", "@Transcode", "@SynoResource"),
        *("__MACOSX", ".AppleDouble", ".Trashes", ".Spotlight-V100", ".fseventsd", ".TemporaryItems"),  # macOS
        *("Network Trash Folder", "Temporary Items", "TheVolumeSettingsFolder"),
        *("$RECYCLE.BIN", "RECYCLER", "RECYCLED", "System Volume Information"),  # Windows
        *("lost+found", "LOST.DIR", ".thumbnails", ".Trash", ".snapshot", ".zfs"),  # Linux and Unix
    )
)
# Folders of which there may be several, by their names but for a number: of users, and of checks of a disk.
_NUMBERED = {
    ".Trash-*": re.compile(r"\.trash-.*", re.IGNORECASE),
    "FOUND.*": re.compile(r"found\.\d{3}", re.IGNORECASE),
}
# The picture of a folder in macOS, hidden there.
_FOLDER_ICON = "Icon\r"
HIDDEN_FILES, HIDDEN_FOLDERS = "hidden files", "hidden folders"
RESOURCE_FORKS = "._*"


# Files of a bucket come folder by folder.
@functools.lru_cache(maxsize=1024)
def folder_kind(name: str) -> str:
    """Return what kind of dropping a folder is: its name, or HIDDEN_FOLDERS; empty for any other."""
    if name.lower() in _FOLDERS:
        return name
    if numbered := next((kind for kind, pattern in _NUMBERED.items() if pattern.fullmatch(name)), ""):
        return numbered
    return HIDDEN_FOLDERS if name.startswith(".") and name not in (".", "..") else ""


def file_kind(name: str) -> str:
    """Return what kind of dropping a file is by its own name, RESOURCE_FORKS or HIDDEN_FILES; empty for any other."""
    if not name.startswith("."):
        return HIDDEN_FILES if name == _FOLDER_ICON else ""
    return RESOURCE_FORKS if name.startswith("._") else HIDDEN_FILES


def system_kind(relative: str) -> str:
    """Return what kind of dropping a file is or lies in, by the outermost name that tells; empty for any other.

    Args:
        relative: The path of the file below its input, with forward slashes.
    """
    *folders, name = relative.split("/")
    return next(filter(None, map(folder_kind, folders)), "") or file_kind(name)


def is_system_folder(kind: str) -> bool:
    """Return whether a kind is that of a folder of a known name, which no one means who asks for all files below."""
    return kind not in ("", HIDDEN_FILES, HIDDEN_FOLDERS)
