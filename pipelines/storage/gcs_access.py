"""Check, before any work, that the credentials allow what a command is going to do in a bucket.

The checks make the same requests at the same place as the command will, so that conditional grants, folder grants and
access control lists count too: a listing and a lookup of one object; for outputs, an object that is written and
deleted. Permissions on the bucket itself (storage.buckets.get) are not needed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipelines.common.cli import UsageError
from pipelines.common.gcs_client import default_retry, gcs_client, google_message, is_gs, is_transient, split_path
from pipelines.common.gcs_credentials import is_told_anonymous, missing_credentials
from pipelines.storage.archives import split_member_path
from pipelines.storage.errors import StorageError, storage_errors

if TYPE_CHECKING:
    from google.cloud.storage import Blob


READER, WRITER = "roles/storage.objectViewer", "roles/storage.objectUser"
# Below the output folder, where a run writes everything until it is finished.
_PROBE = ".unfinished/probe"
# Seconds of retries for a check: enough for a busy service, but short enough to expose a network problem soon.
_PATIENCE = 20.0
# Names to list: more than one, as some may be folder placeholders.
_FEW = 100
_RENEW = "gcloud auth application-default login"


class _Refused(Exception):  # noqa: N818  the name says what it is
    """A problem with a bucket; the message says what to do about it."""


def _reason(error: Exception, bucket: str, what: str, role: str) -> str:
    """Return one line that explains an error of google-auth or google-cloud-storage.

    `what` is the action that was not allowed, and `role` the one that allows it.
    """
    from google.auth import exceptions as auth

    code, said = getattr(error, "code", None), google_message(error)
    # InvalidOperation: the answer to a request without credentials was that it needs some.
    closed = code in (401, 403) or isinstance(error, auth.InvalidOperation)
    if closed and is_told_anonymous():
        return f"{bucket} is not open to everyone; leave --no_auth out"
    if closed and (missing := missing_credentials()):
        return (
            f"no credentials for Google Cloud ({missing}), and {bucket} is not open to everyone; run {_RENEW}, or set "
            "GOOGLE_APPLICATION_CREDENTIALS"
        )
    if isinstance(error, auth.DefaultCredentialsError):
        said = said.partition(". To set up")[0]
        return f"no credentials for Google Cloud ({said}); run {_RENEW}, or set GOOGLE_APPLICATION_CREDENTIALS"
    if is_transient(error):
        cause = getattr(error, "cause", None)
        said = google_message(cause) if cause else said
        return f"Google Cloud Storage does not answer ({said}); see the network, or try again later"
    if isinstance(error, auth.GoogleAuthError) or code == 401:
        return f"Google does not accept the credentials ({said}); run {_RENEW}, or name another key file"
    if code == 404:
        return f"there is no bucket {bucket}; see its spelling, or create it"
    if "UserProjectMissing" in str(error) or "requester pays" in said:
        return f"{bucket} bills who reads it (requester pays), which is not done here; copy what you need elsewhere"
    if code in (400, 403) and "project" in said.lower() and "storage." not in said:
        return (
            f"the project that is to be billed is not accepted ({said}); see GOOGLE_CLOUD_QUOTA_PROJECT, or run "
            "gcloud auth application-default set-quota-project"
        )
    if code == 403:
        return f"may not {what} in {bucket} ({said}); ask for {role} there"
    return f"Google Cloud Storage refuses: {said}"


def _ask(bucket: str, what: str, role: str, question: Callable[[], object]) -> None:
    """Raise _Refused if a request fails.

    `what` is the action that a 403 response forbids, and `role` the one that allows it.
    """
    try:
        with storage_errors():
            question()
    except StorageError as error:
        raise _Refused(_reason(error.source, bucket, what, role)) from error


def _prefix(name: str) -> str:
    """Return the common prefix of the objects that a folder, pattern, archive, archive member or object refers to."""
    inside = split_member_path(name)
    return re.split(r"[*?\[]", inside[0] if inside else name, maxsplit=1)[0].rstrip("/")


def _look(bucket: str, prefix: str) -> list[str]:
    """Return the names of some objects, or raise _Refused if they cannot be listed and read."""
    from google.api_core.exceptions import NotFound

    retry = default_retry().with_timeout(_PATIENCE)
    found: list[Blob] = []

    def look() -> None:
        listing = gcs_client().list_blobs(bucket, prefix=prefix, max_results=_FEW, fields="items(name)", retry=retry)
        found.extend(blob for blob in listing if not blob.name.endswith("/"))

    def look_at_one() -> None:
        with contextlib.suppress(NotFound):  # deleted since the listing
            found[0].reload(retry=retry)

    # Check before Beam does: without credentials it searches for half a minute, then sends anonymous requests.
    _ask(bucket, "list objects", READER, look)
    if found:
        _ask(bucket, "read objects", READER, look_at_one)
    return [blob.name for blob in found]


def _writing_problem(bucket: str, folder: str) -> str:
    from google.api_core.exceptions import NotFound

    retry = default_retry().with_timeout(_PATIENCE)
    name = "/".join(filter(None, (folder, _PROBE)))

    def delete() -> None:
        with contextlib.suppress(NotFound):
            gcs_client().bucket(bucket).blob(name).delete(retry=retry)

    def create() -> None:
        # Retrying is harmless: nobody else writes this object.
        gcs_client().bucket(bucket).blob(name).upload_from_string(b"probe", retry=retry)

    try:
        # Try deletion first, so as not to write what cannot be deleted.
        _ask(bucket, "delete objects", WRITER, delete)
        _ask(bucket, "create objects", WRITER, create)
        _ask(bucket, "delete objects", WRITER, delete)
    except _Refused as refused:
        return str(refused)
    return ""


def _bucket_of(option: str, path: str) -> tuple[str, str]:
    bucket, name = split_path(path)
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", bucket):
        raise UsageError(f"{option} {path}: names no bucket; gs://BUCKET/FOLDER is needed, without wildcards in BUCKET")
    return bucket, name


def require_readable(option: str, path: str) -> list[str]:
    """Raise UsageError if objects of a `gs://` path cannot be listed or read; see `access.require_readable`."""
    if not is_gs(path):
        return []
    bucket, name = _bucket_of(option, path)
    try:
        return [f"gs://{bucket}/{found}" for found in _look(bucket, _prefix(name))]
    except _Refused as refused:
        raise UsageError(f"{option} {path}: {refused}") from refused


def require_writable(option: str, path: str) -> None:
    """Raise UsageError if objects below a `gs://` path cannot be written and deleted; see `access.require_writable`."""
    if is_gs(path):
        require_readable(option, path)
        bucket, name = _bucket_of(option, path)
        if problem := _writing_problem(bucket, name.rstrip("/")):
            raise UsageError(f"{option} {path}: {problem}")
