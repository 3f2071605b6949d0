"""Members of a `.tar` archive, which has no index: it is passed through once."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from pipelines.storage.archive_member import SPARSE, STORED, ArchiveError, Member


def _tar_name(name: str) -> str:
    # tarfile keeps bytes that are not UTF-8 as surrogates, which cannot be written to a UTF-8 file.
    raw = name.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def tar_members(file: BinaryIO) -> Iterator[Member]:
    """Yield the files in an uncompressed tar archive, in its order."""
    try:
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
            while (info := archive.next()) is not None:
                if info.isreg():
                    method = SPARSE if info.issparse() else STORED
                    yield Member(_tar_name(info.name), info.offset_data, info.size, info.size, method, -1)
                archive.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
            _check_tar_end(file, archive.offset)
    except tarfile.TarError as error:
        raise ArchiveError(f"not a whole uncompressed tar archive ({error})") from error


def _check_tar_end(file: BinaryIO, offset: int) -> None:
    """Raise ArchiveError unless the archive ends at `offset`.

    tarfile takes anything that is not a header for the end, so whatever follows would be lost silently.
    """
    file.seek(offset)
    mark = file.read(tarfile.BLOCKSIZE)
    if len(mark) < tarfile.BLOCKSIZE or any(mark):
        raise ArchiveError(f"not a whole tar archive (no member and no end mark at byte {offset})")
    if any(file.read(tarfile.RECORDSIZE)):
        raise ArchiveError("more follows the end mark: several tar archives in one file; give them one by one")
