"""Reading listed files by threads, in order and in bounded memory: whole files, members of archives, records of shards.

Neighbours in one archive or shard are a run: it is opened once for them, and by one thread. So are files on this
machine, of which more can then be read ahead than there are threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from pipelines.archives import SPAN_BYTES, read_members
from pipelines.gcs_client import ServiceUnavailable
from pipelines.listing import SourceFile, container_of
from pipelines.record_source import read_records_at
from pipelines.sources import read_bytes
from pipelines.storage import is_local

# Enough to hide the opening, and few enough for every thread to have some of a chunk.
_RUN_FILES = 16

Content = bytes | Exception
Item = TypeVar("Item")
Result = TypeVar("Result")


class Mapper(Protocol):
    """`map`, or `ThreadedDoFn.map_threaded`."""

    def __call__(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterable[Result]: ...


def _neighbourhood(file: SourceFile) -> str | None:
    """What files of one run have in common; None for a file to be asked for alone, as each costs a journey."""
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
    try:
        return read_bytes(file.path)
    except ServiceUnavailable:
        raise
    except Exception as error:  # each filesystem raises its own kinds
        return error


def _read_run(run: list[SourceFile]) -> Iterator[Content]:
    if places := [file.record for file in run if file.record]:
        return read_records_at(container_of(run[0]), places)
    if members := [file.member for file in run if file.member]:
        return (content for _, content in read_members(container_of(run[0]), members))
    return map(_read_one, run)


def map_files(
    function: Callable[[SourceFile, Content], Result], files: Iterable[SourceFile], run_map: Mapper = map
) -> Iterator[Result]:
    """What `function` makes of each file and its content, or of why it cannot be read; one result a file, in order.

    The content of a record is its `image/encoded`. function: runs in the thread that has read the file.
    With `ThreadedDoFn.map_threaded` as run_map no more than twice as many runs as threads are held: of small files
    SPAN_BYTES a run, of larger ones one file.
    """

    def use(run: list[SourceFile]) -> list[Result]:
        return [function(file, content) for file, content in zip(run, _read_run(run), strict=True)]

    for results in run_map(use, _runs(files)):
        yield from results


def read_files(files: Iterable[SourceFile], run_map: Mapper = map) -> Iterator[tuple[SourceFile, Content]]:
    """Each file with its content, or with why it cannot be read; otherwise as `map_files`."""
    return map_files(lambda file, content: (file, content), files, run_map)
