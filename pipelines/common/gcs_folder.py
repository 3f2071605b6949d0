"""Transfer files between this machine and a folder of a Google Cloud Storage bucket, each one atomically.

Every copy is verified with its CRC32C, in both directions. Each request is retried as google-cloud-storage recommends.
A write names the generation that it replaces (0: none), so that an attempt whose response was lost is not mistaken for
someone else's write. A downloaded file appears under its name only when complete, and so does an uploaded object.
Objects and files that already have the right content are skipped: repeating the call resumes an interrupted transfer.
Imports neither Beam nor TensorFlow.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pipelines.common.cli import UsageError
from pipelines.common.gcs_client import gcs_client, split_path
from pipelines.common.gcs_credentials import missing_credentials

_THREADS = 8
# Seconds for a request and its retries; requests made before any work get less time.
_PATIENCE, _FIRST_PATIENCE = 300.0, 30.0
# Seconds to wait for one response.
_TIMEOUT = 60.0
# Larger files are sent in parts of this many bytes, and a lost part is sent again; must be a multiple of 256 KiB.
_PART = 32 << 20
_BLOCK = 1 << 20
# Attempts to read an object whose bytes do not match the checksum in the bucket.
_READS = 3


class ObjectState(NamedTuple):
    """The state of an object."""

    size: int  # in bytes
    generation: int  # number of this version of the object
    crc32c: str  # in base64


class UnreachableError(Exception):
    """The store not responding, or not properly, after all retries.

    The message is one line. The same call may succeed later.
    """


def crc32c(source: Path | bytes) -> str:
    """Return the CRC32C of a file or of bytes in base64, the form in which a listing reports it."""
    import google_crc32c

    checksum = google_crc32c.Checksum()
    if isinstance(source, bytes):
        checksum.update(source)
    else:
        with source.open("rb") as file:
            while block := file.read(_BLOCK):
                checksum.update(block)
    return base64.b64encode(checksum.digest()).decode()


class GcsFolder:
    """A folder of a bucket, named as `gs://BUCKET/FOLDER` by a command-line option.

    Names are relative to the folder, with slashes.

    All methods raise UsageError, with one line that names option and place, for what the user must fix: no such bucket,
    no permission, no credentials, or another program writing to the same object. They raise UnreachableError if the
    store fails.
    """

    def __init__(self, place: str, option: str):
        """Initialize the folder without contacting the store.

        Args:
            place: `gs://BUCKET/FOLDER`; FOLDER may be empty.
            option: Command-line option that names the place; it starts error messages.
        """
        self.place = place.rstrip("/")
        self._option = option
        self._bucket, folder = split_path(place)
        self._prefix = folder.strip("/") + "/" if folder.strip("/") else ""
        # Objects as last seen in the bucket.
        self._objects: dict[str, ObjectState] = {}
        # Lives as long as the folder: each thread keeps a client, with a connection and a token.
        self._pool = ThreadPoolExecutor(_THREADS)
        if not self._bucket:
            raise UsageError(f"{option} {place}: names no bucket; give gs://BUCKET/FOLDER")

    def list(self) -> set[str]:
        """List the folder and return the names of all its objects."""
        with self._explained("list"):
            blobs = gcs_client().list_blobs(
                self._bucket,
                prefix=self._prefix,
                fields="items(name,size,generation,crc32c),nextPageToken",
                retry=_retry(_FIRST_PATIENCE),
                timeout=_TIMEOUT,
            )
            found = {blob.name.removeprefix(self._prefix): _state(blob) for blob in blobs}
        self._objects = {name: state for name, state in found.items() if name and not name.endswith("/")}
        return self.names()

    def require_writable(self) -> None:
        """Raise UsageError unless objects can be created here.

        Nothing is created: an upload is started but no data is sent.
        """
        with self._explained("make objects in"):
            self._blob(".probe").create_resumable_upload_session(
                if_generation_match=0, retry=_retry(_FIRST_PATIENCE), timeout=_TIMEOUT
            )

    def read(self, name: str) -> bytes:
        """Return the content of a small object, which the last listing of the folder must contain."""
        state = self._objects[name]
        for _ in range(_READS):
            with self._explained(f"read {name} from"):
                content = self._blob(name).download_as_bytes(**_as_stored(state))
            if crc32c(content) == state.crc32c:
                return content
        raise self._damaged(name)

    def names(self) -> set[str]:
        """Return the names in the folder, as far as this instance has listed, written and deleted them."""
        return set(self._objects)

    def download(self, names: Iterable[str], target: Path) -> int:
        """Copy objects to files of the same names below a local folder.

        Args:
            names: Names that the last listing of the folder contains.
            target: The local folder.

        Returns:
            The number of objects that had to be fetched.

        Raises:
            OSError: If a file cannot be written.
        """
        return self._for_all(lambda name: self._download(name, target), names)

    def upload(self, files: Mapping[str, Path | bytes], last: Iterable[str] = ()) -> None:
        """Write objects from files or from bytes.

        Args:
            files: Files or contents by object name.
            last: Names to send one by one after all others: those that mark a set as complete.
        """
        last = list(last)
        self._for_all(lambda name: self._upload(name, files[name]), [name for name in files if name not in last])
        for name in last:
            self._upload(name, files[name])

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects, which must be known from a listing or an upload; those already gone are ignored."""
        self._for_all(self._delete, names)

    def _download(self, name: str, target: Path) -> bool:
        if not _is_below(name):
            raise UsageError(f"{self._option} {self.place}: {name!r} cannot be the name of a file; rename the object")
        state = self._objects[name]
        path = target / name
        if path.is_file() and path.stat().st_size == state.size and crc32c(path) == state.crc32c:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        # Several processes may fetch the same file at the same time.
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            for _ in range(_READS):
                with self._explained(f"read {name} from"):
                    self._blob(name).download_to_filename(str(temporary), **_as_stored(state))
                if crc32c(temporary) == state.crc32c:
                    os.replace(temporary, path)
                    return True
            raise self._damaged(name)
        finally:
            temporary.unlink(missing_ok=True)

    def _upload(self, name: str, source: Path | bytes) -> None:
        from google.api_core.exceptions import PreconditionFailed

        checksum = crc32c(source)
        known = self._objects.get(name)
        if known and known.crc32c == checksum:
            return
        blob = self._blob(name)
        how: dict[str, Any] = {
            "if_generation_match": known.generation if known else 0,
            "checksum": "crc32c",
            "retry": _retry(),
            "timeout": _TIMEOUT,
        }
        with self._explained(f"write {name} to"):
            try:
                if isinstance(source, bytes):
                    blob.upload_from_string(source, content_type="application/octet-stream", **how)
                else:
                    blob.chunk_size = _PART
                    blob.upload_from_filename(str(source), **how)
            except PreconditionFailed:
                # The first of two attempts may have succeeded, with only its response lost.
                blob.reload(retry=_retry(), timeout=_TIMEOUT)
                if blob.crc32c != checksum:
                    raise
            self._objects[name] = _state(blob)

    def _delete(self, name: str) -> None:
        from google.api_core.exceptions import NotFound

        with self._explained(f"delete {name} from"), contextlib.suppress(NotFound):
            self._blob(name).delete(
                if_generation_match=self._objects[name].generation, retry=_retry(), timeout=_TIMEOUT
            )
        self._objects.pop(name, None)

    def _damaged(self, name: str) -> UnreachableError:
        return UnreachableError(
            f"{self._option} {self.place}: what arrives of {name} does not have the bucket's checksum, {_READS} times; "
            "try again later"
        )

    def _blob(self, name: str) -> Any:
        return gcs_client().bucket(self._bucket).blob(self._prefix + name)

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Turn errors of the store or its client into one-line errors."""
        try:
            yield
        except Exception as error:
            explained = explain(error, f"{self._option} {self.place}", self._bucket, doing)
            if explained is None:
                raise
            raise explained from error

    def _for_all(self, function: Callable[[str], bool | None], names: Iterable[str]) -> int:
        """Call a function on all names with several threads.

        Return how many calls returned true. The first error cancels the remaining calls.
        """
        futures = [self._pool.submit(function, name) for name in names]
        try:
            return sum(bool(future.result()) for future in futures)
        finally:
            for future in futures:
                future.cancel()
            wait(futures)


def explain(error: Exception, where: str, bucket: str, doing: str) -> Exception | None:
    """Translate an error of google-cloud-storage for the user.

    Args:
        error: The error.
        where: Option and value that start the message.
        bucket: Name of the bucket.
        doing: The attempted action, worded to precede "the bucket".

    Returns:
        A UsageError or UnreachableError to raise; None for an error of another origin.
    """
    import requests
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    said = (getattr(error, "message", None) or str(error) or type(error).__name__).splitlines()[0][:200].rstrip(".")
    login = "run gcloud auth application-default login, or let GOOGLE_APPLICATION_CREDENTIALS name a key file"
    # InvalidOperation: the refused credentials cannot be refreshed.
    refused = (api.Unauthorized, auth.InvalidOperation)
    if isinstance(error, (*refused, api.Forbidden)) and (missing := missing_credentials()):
        return UsageError(f"{where}: no credentials for Google Cloud ({missing}), and {bucket} is not open; {login}")
    if isinstance(error, refused) or (isinstance(error, auth.RefreshError) and not error.retryable):
        return UsageError(f"{where}: Google does not accept the credentials ({said}); {login}")
    if isinstance(error, auth.DefaultCredentialsError):
        return UsageError(f"{where}: no credentials for Google Cloud on this machine; {login}")
    if isinstance(error, api.Forbidden):
        return UsageError(
            f"{where}: may not {doing} the bucket {bucket} ({said}); ask for roles/storage.objectUser there, or for "
            "roles/storage.objectViewer to read only"
        )
    if isinstance(error, api.NotFound):
        if doing.startswith("read "):
            return UsageError(f"{where}: changed while it was read; give the same command again")
        return UsageError(f"{where}: there is no bucket {bucket}; see its spelling, or create it")
    if isinstance(error, api.PreconditionFailed):
        return UsageError(f"{where}: cannot {doing} the bucket: another program has changed it; run one at a time")
    if isinstance(error, api.ClientError) and not isinstance(error, api.TooManyRequests):
        return UsageError(f"{where}: cannot {doing} the bucket {bucket} ({said}); see its spelling")
    library = (api.GoogleAPIError, auth.GoogleAuthError, DataCorruption, InvalidResponse)
    if isinstance(error, (*library, requests.RequestException, ConnectionError)):
        return UnreachableError(f"{where}: cannot {doing} the bucket {bucket} ({said}); try again later")
    return None


def _retry(patience: float = _PATIENCE) -> Any:
    """Return the policy that google-cloud-storage recommends for repeatable requests, for this many seconds."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(patience)


def _as_stored(state: ObjectState) -> dict[str, Any]:
    """Return the arguments for reading exactly this version.

    The caller compares checksums, as the library does not verify a resumed download.
    """
    return {
        "if_generation_match": state.generation,
        "raw_download": True,
        "checksum": None,
        "retry": _retry(),
        "timeout": _TIMEOUT,
    }


def _state(blob: Any) -> ObjectState:
    return ObjectState(int(blob.size or 0), int(blob.generation or 0), blob.crc32c or "")


def _is_below(name: str) -> bool:
    """Return whether a file of this name stays below the folder into which it is downloaded."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
