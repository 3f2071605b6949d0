"""Reach buckets on `s3://`, with boto3's credentials or without any, as everyone may; check that before any work."""

from __future__ import annotations

import functools
import os
from typing import Any

from pipelines.common.cli import UsageError, first_line
from pipelines.storage.errors import StorageError, storage_errors

_FIX = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"


def is_s3(path: str) -> bool:
    """Return whether a path is on S3."""
    return path.startswith("s3://")


def s3_client(path: str) -> Any:
    """Return boto3's client with Beam's options for a path on S3."""
    from apache_beam.io.aws.s3io import S3IO
    from apache_beam.io.filesystems import FileSystems

    ask_without_credentials()
    return S3IO(options=FileSystems.get_filesystem(path)._options).client.client  # type: ignore[attr-defined]


@functools.lru_cache(maxsize=8)
def _has_credentials(_: tuple[tuple[str, str], ...]) -> bool:
    import boto3

    return boto3.session.Session().get_credentials() is not None


def has_credentials() -> bool:
    """Return whether boto3 finds credentials; where it finds none, that takes a second and is done once."""
    return _has_credentials(tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))))


@functools.cache
def ask_without_credentials() -> None:
    """Let Beam send requests without a signature where there are no credentials; it would retry in vain for ever.

    Beam has no option for it. Nothing happens without the extra `s3`.
    """
    from apache_beam.io.aws.clients.s3 import boto3_client

    if boto3_client.boto3 is None:
        return
    from botocore.handlers import disable_signing

    class Client(boto3_client.Client):
        """Beam's client, which signs only what it can."""

        def __init__(self, options: Any):
            super().__init__(options)
            given = options.get("s3_access_key_id") if isinstance(options, dict) else _key_in(options)
            if not given and not has_credentials():
                self.client.meta.events.register("choose-signer.s3", disable_signing)

    setattr(boto3_client, "Client", Client)  # noqa: B010  a type may not be assigned to


def _key_in(options: Any) -> str | None:
    from apache_beam.options.pipeline_options import S3Options

    return options.view_as(S3Options).s3_access_key_id


def _problem(error: Exception, bucket: str) -> str:
    """Return one line that explains an error of botocore."""
    answer = getattr(error, "response", {})
    code = str(answer.get("Error", {}).get("Code", ""))
    said = answer.get("Error", {}).get("Message") or first_line(error)
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if status is None:
        return f"S3 does not answer ({said}); see the network, AWS_ENDPOINT_URL and --s3_endpoint_url"
    if status == 404:
        return f"there is no bucket {bucket}; see its spelling, or create it"
    if not has_credentials():
        return f"no credentials for S3, and {bucket} is not open to everyone ({said}); {_FIX}"
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"):
        return f"S3 does not accept the credentials ({said}); {_FIX}"
    if status == 403:
        return f"may not list objects in {bucket} ({said}); ask for s3:ListBucket and s3:GetObject there"
    return f"S3 refuses: {said}"


def require_listed(option: str, path: str) -> None:
    """Raise UsageError if the bucket of an `s3://` path cannot be listed.

    Args:
        option: Command-line option that names the path; it starts the error message.
        path: A folder, pattern, archive or object.

    Raises:
        UsageError: The bucket cannot be listed, or the extra `s3` is missing.
    """
    bucket = path.removeprefix("s3://").partition("/")[0]
    try:
        with storage_errors():
            s3_client(path).list_objects_v2(Bucket=bucket, MaxKeys=1)
    except StorageError as error:
        raise UsageError(f"{option} {path}: {_problem(error.source, bucket)}") from error
