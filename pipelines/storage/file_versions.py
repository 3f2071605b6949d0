"""Look up the size and version of files, which reveal a change of content without reading it.

A version is text. For two listings of one path, equal size and version mean the same content; a difference means a
change. An empty version means that the store reports nothing but the size.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipelines.common.gcs_client import BATCH, batched, gcs_client, is_gs, split_path
from pipelines.storage.errors import storage_errors
from pipelines.storage.filesystem import beam_filesystems, is_local, match, match_metadata

if TYPE_CHECKING:
    from apache_beam.io.filesystem import FileMetadata
    from google.cloud.storage import Blob


# The fields that `blob_state` needs from a listing in Google's JSON API.
BLOB_FIELDS = "name,size,generation,crc32c"


class FileVersion(NamedTuple):
    """The size and version of a file; both stay empty for a missing file."""

    size: int = 0  # in bytes
    version: str = ""


def is_object(path: str) -> bool:
    """Return whether a path names an object in a Google Cloud Storage bucket."""
    return is_gs(path) and bool(split_path(path)[1])


def local_version(path: str) -> FileVersion:
    """Return the state of a local file with one system call.

    The version is `mtime:` and the modification time in nanoseconds.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return FileVersion()
    return FileVersion(found.st_size, f"mtime:{found.st_mtime_ns}")


def blob_version(blob: Blob) -> FileVersion:
    """Return the state of an object from its metadata.

    The version is `generation:` with the number of this content in the bucket, and `/crc32c:` with its checksum in
    base64.
    """
    parts = (("generation", blob.generation), ("crc32c", blob.crc32c))
    return FileVersion(int(blob.size or 0), "/".join(f"{name}:{value}" for name, value in parts if value))


def metadata_version(found: FileMetadata) -> FileVersion:
    """Return the state of a file on any Beam filesystem from its metadata.

    The version is `updated:` and seconds since 1970.
    """
    updated = found.last_updated_in_seconds
    return FileVersion(int(found.size_in_bytes or 0), f"updated:{updated:.3f}" if updated else "")


def _blob_versions(paths: Sequence[str]) -> Iterator[FileVersion]:
    """Yield the state of each object; an empty one if it is missing or forbidden.

    Raises:
        GoogleAPICallError: If the store gives no answer about an object.
    """
    from google.api_core.exceptions import from_http_response

    client = gcs_client()
    for start in range(0, len(paths), BATCH):
        names = [split_path(path) for path in paths[start : start + BATCH]]
        blobs: dict[int, Blob] = {}

        def look_up(index: int, names: list = names, blobs: dict = blobs) -> None:
            # A blob that was in a failed batch cannot be reloaded again, so create a new one.
            bucket, name = names[index]
            blobs[index] = client.bucket(bucket).blob(name)
            blobs[index].reload()

        responses = batched([functools.partial(look_up, index) for index in range(len(names))])
        for index, response in enumerate(responses):
            blob = blobs[index]
            if not (response.ok or response.status_code in (403, 404)):
                raise from_http_response(response)
            yield blob_version(blob) if response.ok else FileVersion()


def _other_version(path: str) -> FileVersion:
    from apache_beam.io.filesystem import BeamIOError

    try:
        return metadata_version(beam_filesystems(path).get_filesystem(path).metadata(path))
    except BeamIOError:
        return FileVersion()


@storage_errors()
def versions_of(paths: Sequence[str]) -> list[FileVersion]:
    """Return the state of each file, in order; an empty one if it is missing or forbidden.

    A local file costs one system call, objects on `gs://` one request per BATCH of them, files on other filesystems one
    request each.

    Raises:
        StorageError: If a store gives no answer about a file.
    """
    of_blobs = _blob_versions([path for path in paths if is_object(path)])
    return [
        next(of_blobs) if is_object(path) else local_version(path) if is_local(path) else _other_version(path)
        for path in paths
    ]


def match_versions(pattern: str) -> Iterator[tuple[str, FileVersion]]:
    """Yield the path and state of each file that matches a pattern.

    Raises:
        StorageError: If the pattern cannot be matched.
    """
    if is_local(pattern):
        yield from ((path, local_version(path)) for path in match(pattern))
    else:
        yield from ((found.path, metadata_version(found)) for found in match_metadata(pattern))
