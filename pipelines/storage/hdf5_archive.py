"""Members of an HDF5 file that holds one encoded image a dataset, as the ISIC challenge of 2024 does.

Where HDF5 stores a dataset's bytes in one piece, they are read from their place like a member of a tar, by any number
of threads. Others are read through h5py, one at a time.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pipelines.storage.archive_member import BY_NAME, STORED, ArchiveError, Member, one_kind_of_error
from pipelines.storage.block_cache import open_cached
from pipelines.storage.filesystem import is_local, require_regular

if TYPE_CHECKING:
    import h5py


@contextlib.contextmanager
def _opened(path: str) -> Iterator[h5py.File]:
    try:
        import h5py
    except ImportError as error:
        raise ArchiveError("HDF5 needs the package h5py; install the extra hdf5") from error
    with contextlib.ExitStack() as stack:
        place = path if is_local(path) else stack.enter_context(open_cached(path))
        try:
            if is_local(path):
                require_regular(path)
            file = h5py.File(place, "r")
        except OSError as error:
            raise ArchiveError(f"not a whole HDF5 file ({error})") from error
        yield stack.enter_context(file)


def _holds_bytes(dataset: h5py.Dataset) -> bool:
    """Return whether a dataset is one string of bytes: fixed, opaque, of any length, or an array of bytes."""
    import h5py

    if dataset.shape == ():
        return dataset.dtype.kind in "SV" or h5py.check_string_dtype(dataset.dtype) is not None
    return dataset.shape is not None and len(dataset.shape) == 1 and dataset.dtype.name in ("uint8", "int8")


def _member(dataset: h5py.Dataset, number: int, userblock: int) -> Member:
    name = dataset.name.lstrip("/")
    # A string of any length is stored as a reference to its bytes. Offsets do not count a user block.
    offset = None if dataset.dtype.kind == "O" or userblock else dataset.id.get_offset()
    if offset is None:
        return Member(name, number, dataset.nbytes, dataset.nbytes, BY_NAME, -1)
    return Member(name, offset, dataset.nbytes, dataset.nbytes, STORED, -1)


def hdf5_members(path: str) -> Iterator[Member]:
    """Yield the datasets of an HDF5 file that may be encoded images.

    Raises:
        ArchiveError: If the file cannot be read, or h5py is not installed.
    """
    with one_kind_of_error(), _opened(path) as file:
        found: list[Member] = []
        numbers = itertools.count()

        def visit(_: str, item: object) -> None:
            import h5py

            if isinstance(item, h5py.Dataset) and _holds_bytes(item):
                found.append(_member(item, next(numbers), file.userblock_size))

        file.visititems(visit)
    yield from found


def read_by_name(path: str, members: Iterable[Member]) -> Iterator[tuple[Member, bytes | ArchiveError]]:
    """Yield each member with its content, or with the error that prevented reading it; the file is opened once."""
    with contextlib.ExitStack() as stack:
        file: h5py.File | ArchiveError
        try:
            with one_kind_of_error():
                file = stack.enter_context(_opened(path))
        except ArchiveError as error:
            file = error
        for member in members:
            content: bytes | ArchiveError
            try:
                with one_kind_of_error():
                    content = _content(file, member)
            except ArchiveError as error:
                content = error
            yield member, content


def _content(file: h5py.File | ArchiveError, member: Member) -> bytes:
    if isinstance(file, ArchiveError):
        raise file
    value = file[member.name][()]
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)
