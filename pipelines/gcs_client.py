"""The client of Google Cloud Storage, one for each thread, and what it does with whole objects.

Answers of 408, 429 and 5xx and connections that break are tried again, after waits that grow, as Google's documentation
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

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from requests import Response

# Google advises no more requests in one.
BATCH = 100
# Of an object whose bytes are not those of its checksum, or whose upload the store no longer knows.
_TIMES = 3


class ServiceUnavailable(Exception):  # noqa: N818  the name says what it is
    """Google Cloud Storage itself does not answer, after every retry: no fault of one object."""


@functools.lru_cache(maxsize=64)
def _client(thread: int, emulator: str | None):
    # Imported here: it takes a second, and most inputs are local.
    from google.cloud import storage  # type: ignore[attr-defined]  # a namespace package

    # Only who makes buckets needs a project.
    return storage.Client(project=None)


def gcs_client():
    """A google.cloud.storage.Client with the application's own credentials."""
    # A session is not safe to share between threads.
    return _client(threading.get_ident(), os.environ.get("STORAGE_EMULATOR_HOST"))


def split_path(path: str) -> tuple[str, str]:
    """Bucket and name of `gs://bucket/name`; the name may be empty."""
    bucket, _, name = path.removeprefix("gs://").partition("/")
    return bucket, name


def default_retry() -> Retry:
    """For requests that change nothing, or may be made twice: two minutes of retries."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY


def is_transient(error: Exception) -> bool:
    """Whether a request may fail so at one time and be answered at another; also of one that was retried in vain."""
    from google.api_core.exceptions import RetryError

    if isinstance(error, RetryError):
        return True
    return bool(default_retry()._predicate(error))


def google_message(error: Exception) -> str:
    """What Google says in one of its libraries' errors, in one line, without the address that was asked."""
    try:
        text = error.response.json()["error"]["message"]  # type: ignore[attr-defined]
    except Exception:  # no answer of Google's, or one that is not as documented
        text = getattr(error, "message", "") or (error.args[0] if error.args else "") or error.__class__.__name__
    return re.sub(r"^(GET|POST|PUT|DELETE) \S+: ", "", str(text)).strip().partition("\n")[0].rstrip(".")


def read_object(path: str, retry: Retry | None = None) -> bytes:
    """The whole of an object as it is stored, by one request on a connection that is kept.

    A connection that breaks is taken up where it broke, in the same generation, and the bytes are compared with the
    store's CRC-32C. retry: `default_retry()`, unless another is given.
    Raises OSError when this object cannot be read, FileNotFoundError when there is none; ServiceUnavailable when its
    bucket cannot be asked for others either.
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
        # A request that was taken up again is not compared by the library.
        found = base64.b64encode(google_crc32c.Checksum(content).digest()).decode()
        if blob.crc32c in (None, found):
            return content
    raise OSError(f"{path}: what was received has not the store's checksum, {_TIMES} times")


def write_object(path: str, data: bytes, retry: Retry | None = None) -> None:
    """Put an object in its place whole, with a checksum that the store compares.

    The same bytes sent twice are the same object, so that an upload is tried again without a condition. Raises what
    google-cloud-storage raises.
    """
    from google.api_core.exceptions import NotFound

    bucket, name = split_path(path)
    for left in reversed(range(_TIMES)):
        try:
            blob = gcs_client().bucket(bucket).blob(name)
            blob.upload_from_string(data, checksum="crc32c", retry=retry or default_retry())
            return
        except NotFound:  # of a long upload, which then is to be begun again
            if not left:
                raise


def batched(requests: Sequence[Callable[[], object]], retry: Retry | None = None) -> list[Response]:
    """Send up to BATCH requests of `gcs_client()` as one, and those that fail for a while again; the response to each.

    Raises what google-cloud-storage raises, when some still fail so after every retry.
    """
    from google.api_core.exceptions import from_http_response

    answers: dict[int, Response] = {}

    def send() -> None:
        waiting = [index for index in range(len(requests)) if index not in answers]
        batch = gcs_client().batch(raise_exception=False)
        with batch:
            for index in waiting:
                requests[index]()
        # What Google's own example reads; there is no public name for it.
        found = list(zip(waiting, batch._responses, strict=True))
        failed = [error for _, response in found if is_transient(error := from_http_response(response))]
        answers.update((index, response) for index, response in found if not is_transient(from_http_response(response)))
        if failed:
            raise failed[0]

    (retry or default_retry())(send)()
    return [answers[index] for index in range(len(requests))]


def delete_objects(paths: Sequence[str]) -> None:
    """Delete objects, many in one request; one that is not there is none to be deleted.

    Raises OSError for the first that cannot be.
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
    """Raise ServiceUnavailable when `path` could not be read for a reason that passes, and its bucket does not answer.

    What was to be read is then not at fault. error: after every retry. Other filesystems are not judged.
    """
    if not path.startswith("gs://") or not isinstance(error, Exception) or not is_transient(error):
        return
    bucket, _ = split_path(path)
    try:
        next(iter(gcs_client().list_blobs(bucket, max_results=1, retry=retry or default_retry())), None)
    except Exception as found:  # the library's own kinds and those of the libraries below it
        if is_transient(found):
            raise ServiceUnavailable(f"Google Cloud Storage does not answer for gs://{bucket}: {found}") from found
