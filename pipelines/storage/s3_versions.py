"""Read, write and remove an object of `s3://` on condition of its version; see `exclusive_object`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipelines.common.exclusive_object import Version, VersionedStore
from pipelines.storage.s3_access import s3_client


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


def _read(path: str) -> Version | None:
    client, where = _s3(path)
    found = _answers(lambda: client.get_object(**where), 404)
    return found and Version(found["Body"].read(), found["LastModified"].timestamp(), found["ETag"])


def _write(path: str, content: bytes, earlier: Version | None) -> bool:
    client, where = _s3(path)
    condition = {"IfMatch": earlier.id} if earlier else {"IfNoneMatch": "*"}
    # 409: another request for the object is under way.
    return _answers(lambda: client.put_object(**where, Body=content, **condition), 404, 409, 412) is not None


def _remove(path: str, _: Version) -> bool:
    # Not every store knows a condition here; the moment since it was read is short.
    client, where = _s3(path)
    client.delete_object(**where)
    return True


S3 = VersionedStore(_read, _write, _remove)
