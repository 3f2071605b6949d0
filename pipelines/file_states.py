"""What a store says of a file's content without reading it: size and version, by which a change is seen.

A version is text; of two listings of one path, the same size and version mean the same content, and others a change.
Empty: the store says nothing beyond the size.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from apache_beam.io.filesystem import BeamIOError, FileMetadata
from apache_beam.io.filesystems import FileSystems

from pipelines.gcs_client import BATCH, batched, gcs_client, split_path
from pipelines.storage import is_local

if TYPE_CHECKING:
    from google.cloud.storage import Blob  # type: ignore[attr-defined]  # a namespace package

# What `blob_state` looks at, of a listing in Google's JSON.
BLOB_FIELDS = "name,size,generation,crc32c"


class FileState(NamedTuple):
    """Size in bytes and version; of a file that is not there 0 and empty."""

    size: int = 0
    version: str = ""


def is_object(path: str) -> bool:
    """Whether a path names an object in a bucket of Google's."""
    return path.startswith("gs://") and bool(path.removeprefix("gs://").partition("/")[2])


def local_state(path: str) -> FileState:
    """`mtime:` and the time of the last change in nanoseconds; one request to the system."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return FileState()
    return FileState(found.st_size, f"mtime:{found.st_mtime_ns}")


def blob_state(blob: Blob) -> FileState:
    """`generation:` and the number that the bucket gave this content, and `/crc32c:` with its checksum in base64."""
    parts = (("generation", blob.generation), ("crc32c", blob.crc32c))
    return FileState(int(blob.size or 0), "/".join(f"{name}:{value}" for name, value in parts if value))


def metadata_state(found: FileMetadata) -> FileState:
    """`updated:` and seconds since 1970; of any filesystem of Beam."""
    updated = found.last_updated_in_seconds
    return FileState(int(found.size_in_bytes or 0), f"updated:{updated:.3f}" if updated else "")


def _blob_states(paths: Sequence[str]) -> Iterator[FileState]:
    """Raises GoogleAPICallError where the store cannot say; an object that is missing or forbidden has no state."""
    from google.api_core.exceptions import from_http_response

    client = gcs_client()
    for start in range(0, len(paths), BATCH):
        names = [split_path(path) for path in paths[start : start + BATCH]]
        blobs: dict[int, Blob] = {}

        def look_up(index: int, names: list = names, blobs: dict = blobs) -> None:
            # One that was in a batch that failed cannot be asked for again.
            bucket, name = names[index]
            blobs[index] = client.bucket(bucket).blob(name)
            blobs[index].reload()

        responses = batched([functools.partial(look_up, index) for index in range(len(names))])
        for index, response in enumerate(responses):
            blob = blobs[index]
            if not (response.ok or response.status_code in (403, 404)):
                raise from_http_response(response)
            yield blob_state(blob) if response.ok else FileState()


def _other_state(path: str) -> FileState:
    try:
        return metadata_state(FileSystems.get_filesystem(path).metadata(path))
    except BeamIOError:
        return FileState()


def states_of(paths: Sequence[str]) -> list[FileState]:
    """The state of each file, in order; of one that is missing or forbidden 0 and empty.

    A local file costs one request to the system, objects of `gs://` one request for BATCH of them, files of another
    filesystem one request each.
    """
    of_blobs = _blob_states([path for path in paths if is_object(path)])
    return [
        next(of_blobs) if is_object(path) else local_state(path) if is_local(path) else _other_state(path)
        for path in paths
    ]
