"""Size and checksum of files, by which a file can be told from what it should be."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from pipelines.common.gcs_client import default_retry, gcs_client, is_gs, split_path
from pipelines.common.gcs_folder import crc32c
from pipelines.storage import filesystem
from pipelines.storage.errors import storage_errors


class FileState(NamedTuple):
    """What tells a file's content from another."""

    size: int  # in bytes
    crc32c: str  # in base64; empty on a filesystem that does not say it


@storage_errors()
def file_states(folder: str, names: Collection[str]) -> dict[str, FileState]:
    """Return the states of files, by name; files that are not there are left out.

    Local files are read. In a bucket the listing says it.

    Args:
        folder: A folder on any filesystem; it may be missing.
        names: Paths of the files relative to the folder, with forward slashes.

    Raises:
        StorageError: If the folder or a file cannot be read.
    """
    if filesystem.is_local(folder):
        found = {}
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                path = Path(folder, name)
                found[name] = FileState(path.stat().st_size, crc32c(path))
        return found
    wanted, prefix = set(names), folder.rstrip("/") + "/"
    listed = _listed(prefix) if is_gs(folder) else _matched(prefix)
    return {name: state for name, state in listed.items() if name in wanted}


def _listed(prefix: str) -> dict[str, FileState]:
    bucket, start = split_path(prefix)
    fields = "items(name,size,crc32c),nextPageToken"
    blobs = gcs_client().list_blobs(bucket, prefix=start, fields=fields, retry=default_retry())
    return {blob.name.removeprefix(start): FileState(blob.size or 0, blob.crc32c or "") for blob in blobs}


def _matched(prefix: str) -> dict[str, FileState]:
    found = filesystem.match_metadata(f"{prefix}**")
    return {file.path.removeprefix(prefix): FileState(file.size_in_bytes, "") for file in found}
