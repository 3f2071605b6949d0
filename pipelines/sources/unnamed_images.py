"""Find images whose names do not say so, by the first bytes of files without or with an unknown extension."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from pipelines.imaging.signatures import HEAD_BYTES, is_image_head
from pipelines.sources.source_file import IMAGE, SourceFile, container_of
from pipelines.storage.archives import read_member_head
from pipelines.storage.errors import StorageError
from pipelines.storage.filesystem import is_local, read_head

# Extensions of files that are no images. They are not looked at: a bucket may hold a million of them.
_OTHERS = frozenset(
    (
        *(".csv", ".tsv", ".tab", ".txt", ".md", ".rst", ".log", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml"),
        *(".ini", ".html", ".htm", ".css", ".js", ".svg", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ods", ".odt"),
        *(".ppt", ".pptx", ".rtf", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".parquet"),
        *(".npy", ".npz", ".mat", ".h5", ".hdf5", ".pkl", ".pt", ".pth", ".onnx", ".keras", ".pb", ".tfrecord", ".db"),
        *(".py", ".pyc", ".ipynb", ".r", ".sh", ".bat", ".exe", ".dll", ".mp3", ".wav", ".mp4", ".mov", ".avi", ".mkv"),
        *(".md5", ".sha1", ".sha256", ".lock", ".url", ".lnk", ".tmp", ".part", ".crdownload"),
    )
)
# Requests at once to a store that is not local.
_REQUESTS = 16
NO_EXTENSION, OTHER = "no extension", "other extensions"
_LONGEST_EXTENSION = 5


def kind_of_name(path: str) -> str:
    """Return what a file that is no image is counted by: its extension in lower case, NO_EXTENSION or OTHER.

    The kinds are few, however many files there are: an unusual extension, such as a number or a date, is OTHER.
    """
    extension = os.path.splitext(path)[1].lower()
    if not extension:
        return NO_EXTENSION
    short = len(extension) <= 1 + _LONGEST_EXTENSION and extension[1:].isascii() and extension[1:].isalpha()
    return extension if short or extension in _OTHERS else OTHER


def is_unnamed(file: SourceFile) -> bool:
    """Return whether only the first bytes of a file tell if it is an image."""
    return (
        not file.kind and not file.is_image and file.size > 0 and os.path.splitext(file.path)[1].lower() not in _OTHERS
    )


def _head(file: SourceFile) -> bytes | None:
    """Return the first bytes of a file; None if they cannot be read."""
    try:
        if file.member:
            return read_member_head(container_of(file), file.member, HEAD_BYTES)
        return read_head(file.path, HEAD_BYTES)
    except StorageError:
        return None


def looks_like_image(file: SourceFile) -> bool:
    """Return whether a file begins like an image. One that cannot be read does, so that it is rejected and not lost."""
    head = _head(file)
    return head is None or is_image_head(head)


def find_unnamed(files: Iterable[SourceFile]) -> Iterator[SourceFile]:
    """Yield each file, marked as an IMAGE if its first bytes are those of one and its name does not tell."""
    files = list(files)
    unnamed = [file for file in files if is_unnamed(file)]
    if not unnamed:
        yield from files
        return
    found = dict(zip((file.path for file in unnamed), _look(unnamed), strict=True))
    for file in files:
        yield file._replace(kind=IMAGE) if found.get(file.path) else file


def _look(files: Sequence[SourceFile]) -> Iterator[bool]:
    if all(is_local(file.path) for file in files):
        yield from map(looks_like_image, files)
        return
    with ThreadPoolExecutor(_REQUESTS) as threads:
        yield from threads.map(looks_like_image, files)
