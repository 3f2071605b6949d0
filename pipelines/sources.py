"""Inputs of a job: their files, shared out among workers, the ids in their names, and their bytes."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam

from pipelines import storage
from pipelines.archives import Member, is_archive, read_member, split_member_path, unsupported_archive
from pipelines.cli import UsageError
from pipelines.gcs_access import require_readable_entries
from pipelines.image_names import IMAGE_EXTENSIONS, is_image_name
from pipelines.listing import (
    SourceFile,
    Unit,
    container_of,
    fixed_part,
    has_wildcard,
    list_files,
    list_units,
    offset_of,
)
from pipelines.path_lists import is_path_list, list_paths, require_path_list
from pipelines.record_source import is_record_source, record_format, record_units
from pipelines.seeding import stable_hash
from pipelines.storage import is_folder, is_local, printable

# A work item for one worker: large enough to hide the overhead, small enough to share out evenly.
FILES_PER_CHUNK = 64


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


def _not_listed(option: str, root: str, error: Exception) -> UsageError:
    detail = str(error).splitlines()[0] if str(error) else error.__class__.__name__
    return UsageError(f"{option} {root}: cannot be listed: {detail}")


def _holds_records(option: str, root: str) -> bool:
    try:
        return is_record_source(root)
    except Exception as error:  # each filesystem raises its own kinds; none is worth a traceback
        raise _not_listed(option, root, error) from error


def require_images(option: str, root: str, records: bool = False) -> None:
    """Raise UsageError unless `root` exists, can be listed and holds at least one image by name.

    records: a prepared dataset or shards of one will do too.
    """
    if root != printable(root):
        raise UsageError(f"{option} {printable(root)}: holds bytes that are not UTF-8 text; rename it or link to it")
    if is_local(root) and not has_wildcard(root) and not os.path.exists(root):
        raise UsageError(f"{option} {root}: no such file or folder")
    if records and _holds_records(option, root):
        record_format(option, root)
        return
    refused = unsupported_archive(root)
    if refused:
        raise UsageError(f"{option} {root}: {refused}")
    if is_path_list(root):
        require_path_list(option, root)
        require_readable_entries(option, root, list_paths(root))
    try:
        first = next((file for file in list_files(root) if is_image_name(file.path)), None)
    except Exception as error:  # each filesystem raises its own kinds; none is worth a traceback
        raise _not_listed(option, root, error) from error
    if first is None:
        what = "matches" if has_wildcard(root) and not os.path.exists(root) else "holds"
        raise UsageError(f"{option} {root}: {what} no image (files named {', '.join(sorted(IMAGE_EXTENSIONS))})")


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
    return storage.read_bytes(path)


class ListedFile(NamedTuple):
    """A listed file and the input it was found under."""

    root: str
    file: SourceFile


def images_of(chunk: Iterable[ListedFile]) -> list[ListedFile]:
    """Those files that should be images, by name or as records. Licences, tables and the like are counted, not read."""
    return [listed for listed in chunk if listed.file.is_image]


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


def file_place(file: SourceFile) -> tuple[str, str]:
    """Container and name in it, the same for one file however its path is spelled; of a file of its own path and "".

    Names in an archive are only names: `x/../a` is not `a`.
    """
    container = container_of(file)
    return (_resolved(container), file.path[len(container) :]) if container else (_resolved(file.path), "")


def _best(listings: Iterable[ListedFile]) -> ListedFile:
    """Of one path found under several inputs, the listing that keeps most of its folders; any order gives the same."""

    def order(listed: ListedFile) -> tuple:
        file = listed.file
        return -len(file.relative), listed.root, file.path, file.relative, file.size, file.version

    return min(listings, key=order)


def _once(element: tuple[int, Iterable[ListedFile]]) -> Iterator:
    """Listings of one path or of one archive's or shard's content -> each file once.

    What lies together is given as chunks in the order in which it lies, on the output `chunks`: so it is read fastest.
    """
    by_place: dict[tuple[str, str], list[ListedFile]] = {}
    for listed in element[1]:
        by_place.setdefault(file_place(listed.file), []).append(listed)
    files = iter(sorted(map(_best, by_place.values()), key=lambda listed: offset_of(listed.file)))
    while chunk := list(itertools.islice(files, FILES_PER_CHUNK)):
        if container_of(chunk[0].file):
            yield beam.pvalue.TaggedOutput("chunks", chunk)
        else:
            yield from chunk


def _units(root: str, records: bool) -> Iterator[tuple[str, Unit]]:
    units = record_units(root) if records and is_record_source(root) else list_units(root)
    return ((root, unit) for unit in units)


def _list(part: tuple[str, Unit]) -> Iterator[ListedFile]:
    root, unit = part
    return (ListedFile(root, file) for file in unit())


def _chunks(part: tuple[str, Unit]) -> Iterator[list[ListedFile]]:
    remaining = _list(part)
    while chunk := list(itertools.islice(remaining, FILES_PER_CHUNK)):
        yield chunk


class ListImages(beam.PTransform):
    """Inputs -> chunks (lists of files with the input they were found under), shared out evenly among workers.

    The job graph holds the inputs alone; files are listed inside the pipeline, parts of an input by different workers.
    Inputs may overlap and a list may repeat a path: a path comes once. records: whether the originals of a prepared
    dataset, or of shards of one, are images; otherwise these are files like others, to be ignored.
    """

    def __init__(self, inputs: Sequence[str], records: bool = False):
        super().__init__()
        self._inputs = list(dict.fromkeys(inputs))
        self._records = records

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[list[ListedFile]]:
        parts = (
            begin
            | "Inputs" >> beam.Create(self._inputs, reshuffle=False)
            | "Parts" >> beam.FlatMap(_units, self._records)
            | "Share out parts" >> beam.Reshuffle()
        )
        if len(self._inputs) == 1 and not is_path_list(self._inputs[0]):
            return parts | "List" >> beam.FlatMap(_chunks) | "Share out" >> beam.Reshuffle()
        once = (
            parts
            | "List" >> beam.FlatMap(_list)
            | "By path" >> beam.Map(lambda listed: (stable_hash(file_place(listed.file)[0]), listed))
            | "Repeats" >> beam.GroupByKey()
            | "Once" >> beam.FlatMap(_once).with_outputs("chunks", main="files")
        )
        single = once.files | "Chunks" >> beam.BatchElements(FILES_PER_CHUNK, FILES_PER_CHUNK)
        return (single, once.chunks) | "All chunks" >> beam.Flatten() | "Share out" >> beam.Reshuffle()
