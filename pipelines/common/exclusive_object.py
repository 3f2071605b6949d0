"""The same as `exclusive_file` in a bucket, where the store itself refuses a change to another version of an object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pipelines.common.gcs_client import default_retry, gcs_client, read_object, split_path


class Version(NamedTuple):
    """An object as it was read."""

    content: bytes
    written: float  # when it was written, in seconds since the epoch
    id: Any  # what the store calls this version


class VersionedStore(NamedTuple):
    """What a store of objects can do under a condition."""

    read: Callable[[str], Version | None]
    write: Callable[[str, bytes, Version | None], bool]  # in the place of an earlier version, or of none
    remove: Callable[[str, Version], bool]


def create(store: VersionedStore, path: str, content: bytes) -> bool:
    """Create an object; return whether it was not there before."""
    return _write(store, path, content, None)


def replace(store: VersionedStore, path: str, expected: bytes, content: bytes) -> bool:
    """Replace an object; return whether it was there, with the expected content."""
    found = store.read(path)
    return found is not None and found.content == expected and _write(store, path, content, found)


def remove(store: VersionedStore, path: str, expected: bytes) -> bool:
    """Remove an object; return whether it was there, with the expected content."""
    found = store.read(path)
    return found is not None and found.content == expected and store.remove(path, found)


def _write(store: VersionedStore, path: str, content: bytes, earlier: Version | None) -> bool:
    if store.write(path, content, earlier):
        return True
    # A request is repeated if its answer was lost, and then refused because of itself.
    found = store.read(path)
    return found is not None and found.content == content


def _blob(path: str) -> Any:
    bucket, name = split_path(path)
    return gcs_client().bucket(bucket).blob(name)


def _read_gs(path: str) -> Version | None:
    from google.api_core.exceptions import NotFound

    blob = _blob(path)
    try:
        blob.reload(retry=default_retry())
        # If the content is of a newer version by now, a change to this one is refused.
        return Version(read_object(path), blob.updated.timestamp(), blob.generation)
    except (NotFound, FileNotFoundError):
        return None


def _write_gs(path: str, content: bytes, earlier: Version | None) -> bool:
    from google.api_core.exceptions import PreconditionFailed

    generation = earlier.id if earlier else 0
    try:
        _blob(path).upload_from_string(
            content, if_generation_match=generation, checksum="crc32c", retry=default_retry()
        )
    except PreconditionFailed:
        return False
    return True


def _remove_gs(path: str, found: Version) -> bool:
    from google.api_core.exceptions import NotFound, PreconditionFailed

    try:
        _blob(path).delete(if_generation_match=found.id, retry=default_retry())
    except NotFound:
        return True
    except PreconditionFailed:
        return False
    return True


GCS = VersionedStore(_read_gs, _write_gs, _remove_gs)
