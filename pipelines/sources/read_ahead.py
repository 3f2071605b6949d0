"""Read listed files (whole files, archive members, records) with threads, in order and in bounded memory.

Neighbours in one archive or shard form a run: one thread opens the container once for all of them. Local files form
runs too, which allows reading more files ahead than there are threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from pipelines.imaging.decode_turns import TURNS
from pipelines.imaging.formats import MAX_IMAGE_BYTES
from pipelines.sources.record_source import read_records_at
from pipelines.sources.source_file import SourceFile, container_of
from pipelines.sources.unnamed_images import looks_like_image
from pipelines.storage.archives import SPAN_BYTES, read_members
from pipelines.storage.errors import StorageError
from pipelines.storage.filesystem import is_local, read_bytes

# Enough to hide the cost of opening, and few enough that every thread gets some files of a chunk.
_RUN_FILES = 16
# The first bytes of larger files are looked at before they are read, or unpacked.
_LARGE_BYTES = 2 * SPAN_BYTES


# A file's bytes, or the error that prevented reading them.
Content = bytes | StorageError
Item = TypeVar("Item")
Result = TypeVar("Result")


class Mapper(Protocol):
    """A function with the signature of `map`, such as `ThreadedDoFn.map_threaded`."""

    def __call__(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterable[Result]:
        """Return the results of the function, in the order of the items."""
        ...


def _neighbourhood(file: SourceFile) -> str | None:
    """Return what the files of one run have in common.

    None means that the file is requested alone, since each such request costs a round trip.
    """
    return container_of(file) or ("" if is_local(file.path) else None)


def _runs(files: Iterable[SourceFile]) -> Iterator[list[SourceFile]]:
    run: list[SourceFile] = []
    size = 0
    for file in files:
        apart = run and (_neighbourhood(file) is None or _neighbourhood(file) != _neighbourhood(run[0]))
        if apart or len(run) == _RUN_FILES or (run and size + file.size > SPAN_BYTES):
            yield run
            run, size = [], 0
        run.append(file)
        size += file.size
    if run:
        yield run


def _read_one(file: SourceFile) -> Content:
    if file.failure:
        kind, _, reason = file.failure.partition(": ")
        return StorageError(reason, kind)
    try:
        return read_bytes(file.path)
    except StorageError as error:
        return error


class NotReadError(StorageError):
    """A file so large that it was only looked at; the reason is one short line without the path."""

    def __init__(self, code: str, reason: str):
        super().__init__(reason)
        self.code = code

    def __str__(self) -> str:
        return self.reason


def _refusal(file: SourceFile) -> NotReadError | None:
    """Return why a large file is not worth reading, or None if it is."""
    if file.size <= _LARGE_BYTES or file.record or file.failure:
        return None
    if not looks_like_image(file):
        return NotReadError("not_an_image", f"{file.size:,} bytes that do not begin like an image")
    if file.size > MAX_IMAGE_BYTES:
        return NotReadError("too_large", f"{file.size:,} bytes, more than {MAX_IMAGE_BYTES:,}")
    return None


def _read_run(run: list[SourceFile]) -> Iterator[Content]:
    # A large file is a run of its own.
    if refusal := _refusal(run[0]):
        return iter([refusal])
    if places := [file.record for file in run if file.record]:
        return read_records_at(container_of(run[0]), places)
    if members := [file.member for file in run if file.member]:
        return (content for _, content in read_members(container_of(run[0]), members))
    return map(_read_one, run)


def map_files(
    function: Callable[[SourceFile, Content], Result], files: Iterable[SourceFile], run_map: Mapper = map
) -> Iterator[Result]:
    """Apply a function to each file and its content.

    With `ThreadedDoFn.map_threaded` as run_map, at most twice as many runs as threads are held in memory. A run of
    small files holds up to SPAN_BYTES; a larger file is a run of its own.

    Args:
        function: Takes a file and its bytes (for a record, its `image/encoded`) or the exception that prevented reading
            it. It runs in the thread that read the file.
        files: Files to read; neighbours in a container are read together.
        run_map: Applies a function to runs of files, keeping their order.

    Yields:
        One result per file, in order.
    """

    def use(run: list[SourceFile]) -> list[Result]:
        with TURNS.hold_file(run[0].size):
            return [function(file, content) for file, content in zip(run, _read_run(run), strict=True)]

    for results in run_map(use, _runs(files)):
        yield from results


def read_files(files: Iterable[SourceFile], run_map: Mapper = map) -> Iterator[tuple[SourceFile, Content]]:
    """Return an iterator over each file with its content, or with the exception that prevented reading it.

    Args:
        files: Files to read; neighbours in a container are read together.
        run_map: See `map_files`.
    """
    return map_files(lambda file, content: (file, content), files, run_map)
