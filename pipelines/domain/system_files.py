"""Know the files and folders that systems leave among images: thumbnails, recycle bins, resource forks, hidden ones."""

from __future__ import annotations

# Folders of thumbnails, deleted files and other droppings; some hold images that nobody put there.
_FOLDERS = frozenset(
    name.lower()
    for name in (
        *("@eaDir", "#recycle", "#snapshot", "~snapshot", "@Recycle", "@Recently-Snapshot", ".@__thumb", "@tmp"),  # NAS
        *("__MACOSX", ".AppleDouble", ".Trashes", ".Spotlight-V100", ".fseventsd", ".TemporaryItems"),  # macOS
        *("Network Trash Folder", "Temporary Items"),
        *("$RECYCLE.BIN", "RECYCLER", "RECYCLED", "System Volume Information"),  # Windows
        *("lost+found", "LOST.DIR", ".thumbnails", ".Trash", ".snapshot", ".zfs"),  # Linux and Unix
    )
)
HIDDEN_FILES, HIDDEN_FOLDERS = "hidden files", "hidden folders"
RESOURCE_FORKS = "._*"


def folder_kind(name: str) -> str:
    """Return what kind of dropping a folder is: its own name, or HIDDEN_FOLDERS; empty for any other."""
    if name.lower() in _FOLDERS or name.lower().startswith(".trash-"):
        return ".Trash-*" if name.lower().startswith(".trash-") else name
    return HIDDEN_FOLDERS if name.startswith(".") and name not in (".", "..") else ""


def file_kind(name: str) -> str:
    """Return what kind of dropping a file is by its own name, RESOURCE_FORKS or HIDDEN_FILES; empty for any other."""
    if not name.startswith("."):
        return ""
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
