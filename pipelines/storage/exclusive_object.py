"""The same as `exclusive_file` in a bucket, where the store itself refuses a change to another version of an object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pipelines.common.gcs_client import ServiceUnavailable, default_retry, gcs_client, is_gs, read_object, split_path
from pipelines.storage.errors import StorageError
from pipelines.storage.s3_access import s3_client


class Version(NamedTuple):
    """An object as it was read."""

    content: bytes
    written: float  # when it was written, in seconds since the epoch
    id: Any  # what the store calls this version


def read(path: str) -> Version | None:
    """Return an object, or None if it does not exist."""
    return _read_gs(path) if is_gs(path) else _read_s3(path)


def create(path: str, content: bytes) -> bool:
    """Create an object; return whether it was not there before."""
    return _write(path, content, None)


def replace(path: str, expected: bytes, content: bytes) -> bool:
    """Replace an object; return whether it was there, with the expected content."""
    found = read(path)
    return found is not None and found.content == expected and _write(path, content, found)


def remove(path: str, expected: bytes) -> bool:
    """Remove an object; return whether it was there, with the expected content."""
    found = read(path)
    if found is None or found.content != expected:
        return False
    return _remove_gs(path, found) if is_gs(path) else _remove_s3(path, found)


def _write(path: str, content: bytes, earlier: Version | None) -> bool:
    """Write an object in the place of an earlier version, or of none."""
    if _write_gs(path, content, earlier) if is_gs(path) else _write_s3(path, content, earlier):
        return True
    # A request is repeated if its answer was lost, and then refused because of itself.
    found = read(path)
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
    except ServiceUnavailable as error:
        raise StorageError(str(error), type(error).__name__) from error


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


def _s3(path: str) -> tuple[Any, dict[str, str]]:
    """Return boto3's client, as Beam's own knows no conditions, and what names the object in its requests."""
    bucket, _, key = path.removeprefix("s3://").partition("/")
    return s3_client(path), {"Bucket": bucket, "Key": key}


def _answers(request: Callable[[], Any], *codes: int) -> Any:
    """Return the answer to a request of boto3, or None if it has one of these HTTP status codes."""
    from botocore.exceptions import ClientError

    try:
        return request()
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in codes:
            return None
        raise


def _read_s3(path: str) -> Version | None:
    client, where = _s3(path)
    found = _answers(lambda: client.get_object(**where), 404)
    return found and Version(found["Body"].read(), found["LastModified"].timestamp(), found["ETag"])


def _write_s3(path: str, content: bytes, earlier: Version | None) -> bool:
    client, where = _s3(path)
    condition = {"IfMatch": earlier.id} if earlier else {"IfNoneMatch": "*"}
    # 409: another request for the object is under way.
    return _answers(lambda: client.put_object(**where, Body=content, **condition), 404, 409, 412) is not None


def _remove_s3(path: str, _: Version) -> bool:
    # Not every store knows a condition here; the moment since it was read is short.
    client, where = _s3(path)
    client.delete_object(**where)
    return True
