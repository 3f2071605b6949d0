"""Where files come from: folders, globs, lists of paths, zip and tar archives; local, `gs://`, other filesystems."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import posixpath
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipelines.archives import (
    Member,
    is_archive,
    list_members,
    member_path,
    read_member,
    split_member_path,
    unsupported_archive,
)
from pipelines.cli import UsageError
from pipelines.path_lists import is_path_list, list_paths, require_path_list
from pipelines.seeding import stable_hash
from pipelines.storage import is_folder, is_local

# Files with other names lie beside images in every download (licences, CSVs); they are counted, not read.
IMAGE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".heic", ".dcm"}
)
# A work item for one worker: large enough to hide the overhead, small enough to share out evenly.
FILES_PER_CHUNK = 64

_ISIC_ID = re.compile(r"ISIC_\d{7}(?!\d)", re.IGNORECASE)
_COPY_NUMBER = re.compile(r"\s*\(\d+\)$")
_SIZE_SUFFIX = re.compile(r"(?:_downsampled)+$", re.IGNORECASE)


class SourceFile(NamedTuple):
    """A listed file. relative: path below the input it was found under, with forward slashes; size in bytes.

    member: where in an archive it lies; `path` is then `archive.zip!/name`.
    """

    path: str
    relative: str
    size: int
    member: Member | None = None


def is_image_name(name: str) -> bool:
    """Whether a file's name says that it should be an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS


def isic_id_of(name: str) -> str:
    """The ISIC id in a file name, in capitals; empty when there is none."""
    found = _ISIC_ID.search(posixpath.basename(name))
    return found.group(0).upper() if found else ""


def image_id_of(name: str) -> str:
    """The ISIC id in a file name, else its stem without `_downsampled`, with composed letters (macOS writes others).

    `lesion (2)` is not `lesion`: software numbers pictures so. The same picture again is found by its content.
    """
    base = composed(posixpath.basename(name))
    return isic_id_of(name) or _SIZE_SUFFIX.sub("", os.path.splitext(base)[0] if is_image_name(base) else base)


def composed(text: str) -> str:
    """Text in Unicode's form NFC, in which the same letters are the same characters."""
    return unicodedata.normalize("NFC", text)


def has_copy_number(name: str) -> bool:
    """Whether a file is named like a second download of another: `ISIC_0025509(1).jpg`."""
    return bool(_COPY_NUMBER.search(os.path.splitext(name)[0]))


def printable(path: str) -> str:
    """A path as text for showing, not opening.

    Bytes that are not UTF-8, and NUL, which ends what a terminal shows, stand as a backslash, x and two digits.
    """
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").replace("\0", r"\x00")


def has_wildcard(path: str) -> bool:
    """Whether a path is a pattern that may match several."""
    return any(character in path for character in "*?[")


def fixed_part(pattern: str) -> str:
    """What stands before the first wildcard of a pattern, up to and with its last slash."""
    fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return fixed[: fixed.rfind("/") + 1]


def folder_name(root: str) -> str:
    """The innermost folder in which all files of an input lie; it may name their class or split. Empty: none is named.

    Of a folder its own name, of an archive its name without extension, of a pattern the folder before its first
    wildcard, of a file that it lies in; what a list of paths is called says nothing about them.
    """
    path = root.replace("\\", "/")
    if is_local(path):
        path = posixpath.normpath(path)
    name = posixpath.basename(path.rstrip("/"))
    if is_folder(root):
        return name
    if is_archive(root):
        return os.path.splitext(name)[0]
    if is_path_list(root):
        return ""
    if is_image_name(name) and (not has_wildcard(root) or (is_local(root) and os.path.exists(root))):
        return posixpath.basename(posixpath.dirname(path))
    return posixpath.basename(fixed_part(path).rstrip("/")) if has_wildcard(root) else name


def _fail(error: OSError) -> None:
    raise error


def _list_local(folder: str) -> Iterator[SourceFile]:
    top = os.path.realpath(folder)
    visited: set[str] = set()

    def walked(path: str) -> bool:
        """Whether a folder is to be walked: not hidden, not a link to what is walked at its own place or has been."""
        real = os.path.realpath(path)
        inner_link = os.path.islink(path) and f"{real}{os.sep}".startswith(f"{top}{os.sep}")
        return not os.path.basename(path).startswith(".") and not inner_link and real not in visited

    # By default os.walk passes over folders that it may not read; their images would be lost without a word.
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_fail):
        visited.add(os.path.realpath(parent))
        folders[:] = sorted(name for name in folders if walked(os.path.join(parent, name)))
        for name in sorted(names):
            path = os.path.join(parent, name)
            if not name.startswith("."):
                # A link to nowhere is listed too: it is rejected as unreadable, not passed over.
                size = os.path.getsize(path) if os.path.exists(path) else 0
                yield SourceFile(path, printable(os.path.relpath(path, folder).replace(os.sep, "/")), size)


def _list_gcs(folder: str) -> Iterator[SourceFile]:
    """One paged listing gives name and size of every object: no request per file."""
    from google.cloud import storage  # type: ignore[attr-defined]  # a namespace package

    bucket, _, prefix = folder.removeprefix("gs://").partition("/")
    prefix = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
    for blob in storage.Client().list_blobs(bucket, prefix=prefix, fields="items(name,size),nextPageToken"):
        relative = blob.name[len(prefix) :]
        if relative and not relative.endswith("/") and not any(part.startswith(".") for part in relative.split("/")):
            yield SourceFile(f"gs://{bucket}/{blob.name}", relative, int(blob.size or 0))


def _list_matches(pattern: str) -> Iterator[SourceFile]:
    """Files that a Beam filesystem matches; relative to the part of the pattern before its first wildcard."""
    if is_local(pattern) and not fixed_part(pattern):
        pattern = f"./{pattern}"  # Beam looks nowhere for a pattern whose first folder is a wildcard
    start = len(fixed_part(pattern))
    for found in FileSystems.match([pattern])[0].metadata_list:
        yield SourceFile(found.path, found.path[start:], int(found.size_in_bytes or 0))


def _list_members(archive: str) -> Iterator[SourceFile]:
    for member in list_members(archive):
        # Nothing is unpacked, so a name is only a name; but it should not begin like a path of this machine.
        relative = posixpath.normpath("/" + member.name).lstrip("/")
        yield SourceFile(member_path(archive, member.name), relative, member.size, member)


def _list_entry(path: str) -> Iterator[SourceFile]:
    """What one line of a path list names. A missing image is listed all the same, to be rejected as unreadable."""
    if is_image_name(path) and not has_wildcard(path):
        yield SourceFile(path, path.rpartition("://")[2].lstrip("/"), 0)
    else:
        yield from list_files(path)


def list_files(root: str) -> Iterator[SourceFile]:
    """Every file of an input: a folder (any depth), a glob, an archive, a list of paths or one file.

    Hidden files are passed over. The order is not part of the contract; nothing downstream depends on it.
    """
    if is_archive(root):
        yield from _list_members(root)
    elif is_path_list(root):
        for path in list_paths(root):
            yield from _list_entry(path)
    elif is_local(root):
        if os.path.isdir(root):
            yield from _list_local(root)
        elif os.path.isfile(root):
            yield SourceFile(root, os.path.basename(root), os.path.getsize(root))
        else:
            yield from _list_matches(root)
    elif has_wildcard(root):
        yield from _list_matches(root)
    elif root.startswith("gs://"):
        found = False
        for file in _list_gcs(root):
            found = True
            yield file
        if not found:  # not a folder: perhaps one object
            yield from _list_matches(root)
    else:
        yield from _list_matches(root.rstrip("/") + "/**")


def require_images(option: str, root: str) -> None:
    """Raise UsageError unless `root` exists, can be listed and holds at least one image by name."""
    if root != printable(root):
        raise UsageError(f"{option} {printable(root)}: holds bytes that are not UTF-8 text; rename it or link to it")
    if is_local(root) and not has_wildcard(root) and not os.path.exists(root):
        raise UsageError(f"{option} {root}: no such file or folder")
    refused = unsupported_archive(root)
    if refused:
        raise UsageError(f"{option} {root}: {refused}")
    if is_path_list(root):
        require_path_list(option, root)
    try:
        first = next((file for file in list_files(root) if is_image_name(file.path)), None)
    except Exception as error:  # each filesystem raises its own kinds; none is worth a traceback
        detail = str(error).splitlines()[0] if str(error) else error.__class__.__name__
        raise UsageError(f"{option} {root}: cannot be listed: {detail}") from error
    if first is None:
        what = "matches" if has_wildcard(root) and not os.path.exists(root) else "holds"
        raise UsageError(f"{option} {root}: {what} no image (files named {', '.join(sorted(IMAGE_EXTENSIONS))})")


def failure(error: Exception) -> str:
    """Why a file could not be read, in one line."""
    return f"{error.__class__.__name__}: {getattr(error, 'strerror', None) or printable(str(error))}"


def read_file(path: str, member: Member | None = None) -> bytes:
    """The whole of a listed file. Raises OSError (or the filesystem's own error) when it cannot be read."""
    archive = split_member_path(path) if member else None
    return read_member(archive[0], member) if archive and member else read_bytes(path)


def read_bytes(path: str) -> bytes:
    """The whole file. Raises OSError (or the filesystem's own error) when it cannot be read."""
    if is_local(path):
        # Opening a pipe would wait for ever.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError("not a regular file")
        with open(path, "rb") as file:
            return file.read()
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        return file.read()


class ListedFile(NamedTuple):
    """A listed file and the input it was found under."""

    root: str
    file: SourceFile


def _list(root: str) -> Iterator[ListedFile]:
    return (ListedFile(root, file) for file in list_files(root))


def images_of(chunk: Iterable[ListedFile]) -> list[ListedFile]:
    """Those files whose names say that they should be images. Licences, tables and the like are counted, not read."""
    return [listed for listed in chunk if is_image_name(listed.file.path)]


def _resolved(path: str) -> str:
    """One spelling of a path. Links in its folder are followed; the file itself may be a link, and is one of its own:
    two links to one target are two files, in folders that may say different things."""
    if not is_local(path):
        return path
    folder, name = os.path.split(path)
    return os.path.join(_real_folder(folder), name)


# Files come folder by folder.
@functools.lru_cache(maxsize=1024)
def _real_folder(folder: str) -> str:
    with contextlib.suppress(ValueError):  # no path of this machine holds a NUL
        return os.path.realpath(folder)
    return folder


def place_of(path: str) -> str:
    """One text for a file however its path is spelled. Names in an archive are only names: `x/../a` is not `a`."""
    inside = split_member_path(path)
    return member_path(_resolved(inside[0]), inside[1]) if inside else _resolved(path)


def _once(element: tuple[int, Iterable[ListedFile]]) -> ListedFile:
    """Of one path found under several inputs, the listing that keeps most of its folders; any order gives the same."""
    return min(element[1], key=lambda listed: (-len(listed.file.relative), listed.root, *listed.file[:3]))


def _chunks(root: str) -> Iterator[list[ListedFile]]:
    remaining = _list(root)
    while chunk := list(itertools.islice(remaining, FILES_PER_CHUNK)):
        yield chunk


class ListImages(beam.PTransform):
    """Inputs -> chunks (lists of files with the input they were found under), shared out evenly among workers.

    The job graph holds the inputs alone; files are listed inside the pipeline. Inputs may overlap: a path comes once.
    """

    def __init__(self, inputs: Sequence[str]):
        super().__init__()
        self._inputs = list(dict.fromkeys(inputs))

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[list[ListedFile]]:
        inputs = begin | "Inputs" >> beam.Create(self._inputs, reshuffle=False)
        if len(self._inputs) == 1:
            return inputs | "List" >> beam.FlatMap(_chunks) | "Share out" >> beam.Reshuffle()
        return (
            inputs
            | "List" >> beam.FlatMap(_list)
            | "By path" >> beam.Map(lambda listed: (stable_hash(place_of(listed.file.path)), listed))
            | "Repeats" >> beam.GroupByKey()
            | "Once" >> beam.Map(_once)
            | "Chunks" >> beam.BatchElements(min_batch_size=FILES_PER_CHUNK, max_batch_size=FILES_PER_CHUNK)
        )
