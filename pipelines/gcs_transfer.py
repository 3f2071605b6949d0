"""Files between this machine and a folder of a Google bucket, each whole or not at all.

Every copy is compared with its CRC32C, both ways. Each request is tried again as google-cloud-storage advises: what is
written names the generation that it replaces (0: none), so that an attempt whose answer was lost is not taken for
somebody else's. A file read appears under its name when all of it is there; so does an object that is written. Objects
that have the right content already are not sent, files that have it are not fetched: a copy that was cut off is taken
up by the same call. Imports neither Beam nor TensorFlow.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pipelines.cli import UsageError
from pipelines.gcs_client import gcs_client

_THREADS = 8
# Seconds that a request and its repetitions may take; what is asked before any work should not take as long.
_PATIENCE, _FIRST_PATIENCE = 300.0, 30.0
# Seconds to wait for one answer.
_TIMEOUT = 60.0
# A larger file is sent in parts of this many bytes, of which a lost one is sent again; a multiple of 256 KiB.
_PART = 32 << 20
_BLOCK = 1 << 20
# Of an object whose bytes arrive with another checksum than the bucket has.
_READS = 3


class ObjectState(NamedTuple):
    """Size in bytes, the number of this version of an object, and its CRC32C in base64."""

    size: int
    generation: int
    crc32c: str


class UnreachableError(Exception):
    """The store does not answer, or not as it should, after all repetitions: one line. The same call may do later."""


def is_gs(path: str | Path) -> bool:
    """Whether a path is one of Google Cloud Storage."""
    return str(path).startswith("gs://")


def crc32c(source: Path | bytes) -> str:
    """The checksum of a file, or of bytes, in base64: what a listing says of an object."""
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
    """A folder of a bucket, named `gs://BUCKET/FOLDER` by an option of the user's.

    All methods raise UsageError, one line with option and place, for what the user must mend (no such bucket, no
    permission, no credentials, someone else writing to the same object), and UnreachableError where the store fails.
    Names are relative to the folder, with slashes.
    """

    def __init__(self, place: str, option: str):
        self.place = place.rstrip("/")
        self._option = option
        self._bucket, _, folder = place.removeprefix("gs://").partition("/")
        self._prefix = folder.strip("/") + "/" if folder.strip("/") else ""
        # As last seen in the bucket.
        self._objects: dict[str, ObjectState] = {}
        # Kept as long as the folder: each thread has a client, with a connection and a token.
        self._pool = ThreadPoolExecutor(_THREADS)
        if not self._bucket:
            raise UsageError(f"{option} {place}: names no bucket; give gs://BUCKET/FOLDER")

    def list(self) -> set[str]:
        """Names of everything in the folder now."""
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
        """Find out whether objects may be made here, without making one: an upload is begun and never sent."""
        with self._explained("make objects in"):
            self._blob(".probe").create_resumable_upload_session(
                if_generation_match=0, retry=_retry(_FIRST_PATIENCE), timeout=_TIMEOUT
            )

    def read(self, name: str) -> bytes:
        """An object's content; the folder must have been listed with it. Meant for small ones."""
        state = self._objects[name]
        for _ in range(_READS):
            with self._explained(f"read {name} from"):
                content = self._blob(name).download_as_bytes(**_as_stored(state))
            if crc32c(content) == state.crc32c:
                return content
        raise self._damaged(name)

    def names(self) -> set[str]:
        """What is in the folder, as far as this object has listed, written and deleted it."""
        return set(self._objects)

    def download(self, names: Iterable[str], target: Path) -> int:
        """Copy objects to files of the same names below `target`; the folder must have been listed with them.

        Gives how many had to be fetched. OSError if a file cannot be written.
        """
        return self._for_all(lambda name: self._download(name, target), names)

    def upload(self, files: Mapping[str, Path | bytes], last: Iterable[str] = ()) -> None:
        """Make objects of files (or of bytes), by name.

        last: names that are sent once all others are there, one after another: those that say that a set is complete.
        """
        last = list(last)
        self._for_all(lambda name: self._upload(name, files[name]), [name for name in files if name not in last])
        for name in last:
            self._upload(name, files[name])

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; those that are gone already do not matter."""
        self._for_all(self._delete, names)

    def _download(self, name: str, target: Path) -> bool:
        if not _is_below(name):
            raise UsageError(f"{self._option} {self.place}: {name!r} cannot be the name of a file; rename the object")
        state = self._objects[name]
        path = target / name
        if path.is_file() and path.stat().st_size == state.size and crc32c(path) == state.crc32c:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        # Several processes may fetch the same file at once.
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
                # Of two attempts the first may have arrived and only its answer been lost.
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

    def _blob(self, name: str):
        return gcs_client().bucket(self._bucket).blob(self._prefix + name)

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Make one line of what the store or its client says."""
        try:
            yield
        except Exception as error:
            explained = explain(error, f"{self._option} {self.place}", self._bucket, doing)
            if explained is None:
                raise
            raise explained from error

    def _for_all(self, function: Callable[[str], bool | None], names: Iterable[str]) -> int:
        """Call it for all names by several threads; gives for how many it was true. The first error ends it."""
        futures = [self._pool.submit(function, name) for name in names]
        try:
            return sum(bool(future.result()) for future in futures)
        finally:
            for future in futures:
                future.cancel()
            wait(futures)


def explain(error: Exception, where: str, bucket: str, doing: str) -> Exception | None:
    """What to tell the user of an error of google-cloud-storage: UsageError or UnreachableError; None if not one.

    where: option and value; doing: what was tried, before the words "the bucket".
    """
    import requests
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    said = (getattr(error, "message", None) or str(error) or type(error).__name__).splitlines()[0][:200].rstrip(".")
    login = "run gcloud auth application-default login, or let GOOGLE_APPLICATION_CREDENTIALS name a key file"
    # InvalidOperation: what was refused cannot be renewed.
    refused = (api.Unauthorized, auth.InvalidOperation)
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


def _retry(patience: float = _PATIENCE):
    """What google-cloud-storage advises for requests that may be repeated, for so many seconds."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(patience)


def _as_stored(state: ObjectState) -> dict[str, Any]:
    """How to read exactly this version. The caller compares checksums: the library does not once it has to go on."""
    return {
        "if_generation_match": state.generation,
        "raw_download": True,
        "checksum": None,
        "retry": _retry(),
        "timeout": _TIMEOUT,
    }


def _state(blob) -> ObjectState:
    return ObjectState(int(blob.size or 0), int(blob.generation or 0), blob.crc32c or "")


def _is_below(name: str) -> bool:
    """Whether a file of this name is below the folder that it is put into."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
