"""Provide the Google Cloud Storage client, one per thread, and operations on whole objects.

Responses 408, 429 and 5xx and broken connections are retried with exponential backoff, as Google's documentation
recommends (https://cloud.google.com/storage/docs/retry-strategy).
"""

from __future__ import annotations

import base64
import functools
import os
import re
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pipelines.common.gcs_credentials import is_anonymous

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from google.cloud.storage import Client
    from requests import Response


# Requests per batch; Google recommends no more.
BATCH = 100
# Attempts for an object whose bytes do not match its checksum, or whose upload session the store has lost.
_TIMES = 3


class ServiceUnavailable(Exception):  # noqa: N818  the name says what it is
    """Google Cloud Storage itself not responding after every retry, as opposed to a fault of one object."""


@functools.lru_cache(maxsize=64)
def _client(thread: int, emulator: str | None, anonymous: bool) -> Client:
    # Imported here: it takes a second, and most inputs are local.
    from google.cloud import storage

    # A project is needed only to create buckets.
    return storage.Client.create_anonymous_client() if anonymous else storage.Client(project=None)


def gcs_client() -> Client:
    """Return this thread's google.cloud.storage.Client, with application default credentials or without any.

    See `is_anonymous`. STORAGE_EMULATOR_HOST is honoured.
    """
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    # A session is not safe to share between threads.
    return _client(threading.get_ident(), emulator, not emulator and is_anonymous())


def is_gs(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is on Google Cloud Storage."""
    return os.fspath(path).startswith("gs://")


def split_path(path: str) -> tuple[str, str]:
    """Split `gs://bucket/name` into bucket and name; the name may be empty."""
    bucket, _, name = path.removeprefix("gs://").partition("/")
    return bucket, name


def default_retry() -> Retry:
    """Return the policy for requests that change nothing or may be repeated: retries for two minutes."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY


def is_transient(error: Exception) -> bool:
    """Return whether a request with this error may succeed later.

    This includes errors of requests that were already retried in vain.
    """
    from google.api_core.exceptions import RetryError

    if isinstance(error, RetryError):
        return True
    return bool(default_retry()._predicate(error))


def google_message(error: Exception) -> str:
    """Return Google's message in an error of its libraries, on one line and without the request URL."""
    try:
        text = error.response.json()["error"]["message"]  # type: ignore[attr-defined]
    except Exception:  # not a response from Google, or not in the documented form
        text = getattr(error, "message", "") or (error.args[0] if error.args else "") or error.__class__.__name__
    return re.sub(r"^(GET|POST|PUT|DELETE) \S+: ", "", str(text)).strip().partition("\n")[0].rstrip(".")


def read_object_head(path: str, count: int) -> bytes:
    """Return the first bytes of an object with one request, unchecked.

    Args:
        path: `gs://bucket/name`.
        count: How many, at most.

    Raises:
        FileNotFoundError: If the object does not exist.
        OSError: If this object cannot be read.
        ServiceUnavailable: If its bucket does not respond at all.
    """
    bucket, name = split_path(path)
    retry = default_retry()
    try:
        blob = gcs_client().bucket(bucket).blob(name)
        return blob.download_as_bytes(end=count - 1, raw_download=True, checksum=None, retry=retry)
    except Exception as error:  # the library's own kinds and those of the libraries below it
        require_service(path, error, retry)
        raise _as_os_error(path, error) from error


def read_object(path: str, retry: Retry | None = None) -> bytes:
    """Return the whole content of an object as it is stored, with one request on a persistent connection.

    A broken connection is resumed where it broke, in the same generation. The bytes are compared with the store's
    CRC-32C.

    Args:
        path: `gs://bucket/name`.
        retry: Retry policy; `default_retry()` if None.

    Raises:
        FileNotFoundError: If the object does not exist.
        OSError: If this object cannot be read.
        ServiceUnavailable: If its bucket does not respond at all.
    """
    import google_crc32c

    bucket, name = split_path(path)
    retry = retry or default_retry()
    for _ in range(_TIMES):
        blob = gcs_client().bucket(bucket).blob(name)
        try:
            content = blob.download_as_bytes(raw_download=True, checksum=None, retry=retry)
        except Exception as error:  # the library's own kinds and those of the libraries below it
            require_service(path, error, retry)
            raise _as_os_error(path, error) from error
        # The library does not verify the checksum of a resumed download.
        found = base64.b64encode(google_crc32c.Checksum(content).digest()).decode()
        if blob.crc32c in (None, found):
            return content
    raise OSError(f"{path}: what was received has not the store's checksum, {_TIMES} times")


def write_object(path: str, data: bytes, retry: Retry | None = None) -> None:
    """Write an object as a whole, with a checksum that the store verifies.

    The upload is retried without a precondition, since sending the same bytes twice gives the same object.

    Args:
        path: `gs://bucket/name`.
        data: Content of the object.
        retry: Retry policy; `default_retry()` if None.

    Raises:
        GoogleAPIError: If the upload fails; google-cloud-storage may raise other errors too.
    """
    from google.api_core.exceptions import NotFound

    bucket, name = split_path(path)
    for left in reversed(range(_TIMES)):
        try:
            blob = gcs_client().bucket(bucket).blob(name)
            blob.upload_from_string(data, checksum="crc32c", retry=retry or default_retry())
            return
        except NotFound:  # the session of a long upload was lost; start again
            if not left:
                raise


def batched(requests: Sequence[Callable[[], object]], retry: Retry | None = None) -> list[Response]:
    """Send requests of `gcs_client()` as one batch, and resend those that fail temporarily.

    Args:
        requests: Up to BATCH functions that each make one request.
        retry: Retry policy; `default_retry()` if None.

    Returns:
        The response to each request, in order. It may be an error that is not temporary, such as 404.

    Raises:
        GoogleAPIError: If some requests still fail temporarily after every retry.
    """
    from google.api_core.exceptions import from_http_response

    answers: dict[int, Response] = {}

    def send() -> None:
        waiting = [index for index in range(len(requests)) if index not in answers]
        batch = gcs_client().batch(raise_exception=False)
        with batch:
            for index in waiting:
                requests[index]()
        # Google's own example reads this attribute; there is no public one.
        found = list(zip(waiting, batch._responses, strict=True))
        failed = [error for _, response in found if is_transient(error := from_http_response(response))]
        answers.update((index, response) for index, response in found if not is_transient(from_http_response(response)))
        if failed:
            raise failed[0]

    (retry or default_retry())(send)()
    return [answers[index] for index in range(len(requests))]


def delete_objects(paths: Sequence[str]) -> None:
    """Delete objects, many per request; missing ones are ignored.

    Raises:
        OSError: For the first object that cannot be deleted.
    """
    from google.api_core.exceptions import from_http_response

    client = gcs_client()
    for start in range(0, len(paths), BATCH):
        some = paths[start : start + BATCH]
        blobs = [client.bucket(bucket).blob(name) for bucket, name in map(split_path, some)]
        for path, response in zip(some, batched([blob.delete for blob in blobs]), strict=True):
            if not (response.ok or response.status_code == 404):
                raise _as_os_error(path, from_http_response(response))


def _as_os_error(path: str, error: Exception) -> OSError:
    kinds = {404: FileNotFoundError, 403: PermissionError}
    code = getattr(error, "code", 0)
    return kinds.get(code, OSError)(f"{path}: {f'{int(code)} ' if code else ''}{google_message(error)}")


def require_service(path: str, error: BaseException | None, retry: Retry | None = None) -> None:
    """Raise ServiceUnavailable if reading failed for a temporary reason and the bucket does not respond either.

    The file that was to be read is then not at fault. Paths on other filesystems pass.

    Args:
        path: The file that could not be read.
        error: Its error after every retry, or None.
        retry: Retry policy for asking the bucket; `default_retry()` if None.
    """
    if not is_gs(path) or not isinstance(error, Exception) or not is_transient(error):
        return
    bucket, _ = split_path(path)
    try:
        next(iter(gcs_client().list_blobs(bucket, max_results=1, retry=retry or default_retry())), None)
    except Exception as found:  # the library's own kinds and those of the libraries below it
        if is_transient(found):
            raise ServiceUnavailable(f"Google Cloud Storage does not answer for gs://{bucket}: {found}") from found
