"""A Google Cloud Storage of our own on loopback, for tests: objects in memory, and a token for whoever asks."""

from __future__ import annotations

import contextlib
import functools
import http
import http.server
import json
import logging
import os
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from gcp_storage_emulator import server
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import buckets, objects
from gcp_storage_emulator.server import Request, RequestHandler, Response
from gcp_storage_emulator.storage import Storage

from tests.support.gcs_faults import Fault

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

# It warns of its own ways.
logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)


_LIST = re.compile(r"/storage/v1/b/([^/]+)/o")
_OBJECT = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)")
_PRECONDITION = {"code": 412, "message": "At least one of the pre-conditions you specified did not hold."}
_LAYOUT = re.compile(r"/storage/v1/b/([^/]+)/storageLayout")


class Environment(dict[str, str]):
    """What a command needs to find the bucket. requests: method and path, with its query, of all that was asked.

    faults: what goes wrong with a request, by its method and path (see `gcs_faults`).
    """

    def __init__(self, *values: object):
        super().__init__(*values)
        self.requests: list[str] = []
        self.faults: Callable[[str, str], Fault | None] = lambda method, path: None


class _Bucket(RequestHandler):
    """The emulator, with what it lacks: listings in pages and ranges of names; conditions; a bucket's layout."""

    # Seconds; a client that says nothing for so long is left, and tries again.
    timeout = 20
    # Small answers at once: the last of a few would wait 40 ms for the client's acknowledgement of the others.
    disable_nagle_algorithm = True

    def __init__(self, storage: Storage, page: int, environment: Environment, lock: threading.Lock, *args: object):
        self._page = page
        self._environment = environment
        # The emulator answers one request at a time, but a connection on which none comes must not hold up others.
        self._lock = lock
        super().__init__(storage, *args)

    def parse_request(self) -> bool:
        parsed = super().parse_request()
        if parsed and self.headers.get("Expect"):
            # Without this TensorFlow waits for a second before it sends a file.
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._environment.requests.append(f"{self.command} {self.path}")
        return parsed

    def _answer(self, answer: Callable[[], None]) -> None:
        def locked() -> None:
            with self._lock:
                answer()

        fault = self._environment.faults(self.command, self.path)
        if fault is None:
            locked()
        else:
            fault.strike(self, locked)

    def do_GET(self) -> None:  # noqa: N802  the base class has it so
        self._answer(self._get)

    def do_POST(self) -> None:  # noqa: N802  the base class has it so
        self._answer(super().do_POST)

    def do_PUT(self) -> None:  # noqa: N802  the base class has it so
        self._answer(super().do_PUT)

    def do_DELETE(self) -> None:  # noqa: N802  the base class has it so
        self._answer(self._delete)

    def do_PATCH(self) -> None:  # noqa: N802  the base class has it so
        self._answer(super().do_PATCH)

    def _get(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if _LAYOUT.fullmatch(url.path):
            # TensorFlow asks before it renames a folder.
            self._send({"kind": "storage#storageLayout", "hierarchicalNamespace": {"enabled": False}})
            return
        found = _LIST.fullmatch(url.path)
        if not found or "delimiter" in query or "matchGlob" in query:
            super().do_GET()
            return
        try:
            items, _ = self.storage.get_file_list(found[1], query.get("prefix"))
        except NotFound:
            super().do_GET()
            return
        after, end = query.get("pageToken", ""), query.get("endOffset")
        start = query.get("startOffset", "")
        items = sorted(items, key=lambda item: item["name"].encode())
        items = [item for item in items if item["name"] > after and item["name"] >= start]
        items = [item for item in items if not end or item["name"] < end]
        page = min(self._page, int(query.get("maxResults", self._page)))
        listing = {"kind": "storage#objects", "items": items[:page]}
        if len(items) > page:
            listing["nextPageToken"] = items[page - 1]["name"]
        self._send(listing)

    def _delete(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        wanted, found = urllib.parse.parse_qs(url.query).get("ifGenerationMatch"), _OBJECT.fullmatch(url.path)
        if wanted and found and _generation(self.storage, found[1], urllib.parse.unquote(found[2])) != wanted[0]:
            self._send({"error": _PRECONDITION}, http.HTTPStatus.PRECONDITION_FAILED)
        else:
            super().do_DELETE()

    def _send(self, content: dict, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _generation(storage: Storage, bucket: str, name: str) -> str:
    """Of an object; 0: there is none."""
    try:
        return storage.get_file_obj(bucket, name)["generation"]
    except NotFound:
        return "0"


def _batch_get(
    request: Request, item: dict[str, Any], storage: Storage, bucket: str, name: str, meta: Any, response: Response
) -> bool:
    """Google's batches hold look-ups too; the emulator knows deletions and changes only."""
    try:
        found = storage.get_file_obj(bucket, name)
    except NotFound:
        return False
    objects._batch_write_json(response, "HTTP/1.1 200 OK", found)
    return True


objects._BATCH_METHOD_HANDLERS["GET"] = _batch_get
_upload_something = objects._media_upload


def _upload(request: Request, response: Response, storage: Storage) -> None:
    """An upload in one piece; the emulator takes a body of no bytes, such as TensorFlow's for a folder, for none."""
    request._data = request.data or b""
    _upload_something(request, response, storage)


objects._media_upload = _upload


def _keep_precondition(name: str) -> None:
    """Let an upload that names the generation which it replaces (0: none) fail if there is another."""
    handle = getattr(objects, name)

    def checked(request: Request, response: Response, storage: Storage) -> None:
        wanted, bucket = request.query.get("ifGenerationMatch"), request.params["bucket_name"]
        if "name" in request.query:
            named = request.query["name"][0]
        elif wanted:
            named = (request.data["meta"] if name == "_multipart_upload" else request.data)["name"]
        if wanted and "upload_id" not in request.query and _generation(storage, bucket, named) != wanted[0]:
            response.status = http.HTTPStatus.PRECONDITION_FAILED
            response.json({"error": _PRECONDITION})
        else:
            handle(request, response, storage)

    setattr(objects, name, checked)


for _name in ("_media_upload", "_multipart_upload", "_create_resumable_upload"):
    _keep_precondition(_name)
_read_sized = server._read_raw_data


def _read_body(handler: RequestHandler) -> bytes | None:
    """TensorFlow's uploads come in chunks and name a length besides; RFC 9112 has the chunks decide."""
    if handler.headers.get("Expect", "").lower() == "100-continue":
        # Without this word TensorFlow waits for a second before it sends the body.
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if handler.headers.get("Transfer-Encoding", "").lower() == "chunked":
        del handler.headers["Content-Length"]
    return _read_sized(handler)


server._read_raw_data = _read_body


class _Token(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps({"access_token": "test", "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@functools.cache
def _token_port() -> int:
    """Serves tokens as long as the process lives: Beam keeps the first credentials that it finds."""
    tokens = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Token)
    threading.Thread(target=tokens.serve_forever, daemon=True).start()
    return tokens.server_port


def service_account(folder: Path, token_port: int) -> Path:
    """Credentials of nobody. Without any, Beam looks for a metadata server for 20 seconds in every process."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = folder / "credentials.json"
    content = {
        "type": "service_account",
        "project_id": "test",
        "private_key_id": "test",
        "private_key": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        "client_email": "test@test.invalid",
        "client_id": "1",
        "token_uri": f"http://127.0.0.1:{token_port}/token",
    }
    path.write_text(json.dumps(content))
    return path


@contextlib.contextmanager
def local_gcs(folder: Path, bucket: str, page: int = 1000) -> Iterator[Environment]:
    """Serve a bucket; gives the environment with which google-cloud-storage and Beam find it.

    page: how many objects a listing gives at once.
    """
    environment = Environment()
    storage = Storage(use_memory_fs=True)
    buckets.create_bucket(bucket, storage)
    handler = functools.partial(_Bucket, storage, page, environment, threading.Lock())
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    environment.update(
        STORAGE_EMULATOR_HOST=f"http://127.0.0.1:{served.server_port}",
        GOOGLE_APPLICATION_CREDENTIALS=str(service_account(folder, _token_port())),
        GOOGLE_CLOUD_PROJECT="test",
    )
    try:
        yield environment
    finally:
        served.shutdown()
        served.server_close()


def open_bucket(environment: dict[str, str], bucket: str) -> Bucket:
    """The bucket as an object of google-cloud-storage."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    client = storage.Client(
        "test",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": environment["STORAGE_EMULATOR_HOST"]},
    )
    return client.bucket(bucket)


def upload(environment: dict[str, str], bucket: str, folder: Path, prefix: str) -> int:
    """Put a folder's files into the bucket; gives how many."""
    opened = open_bucket(environment, bucket)
    names = [path for path in folder.rglob("*") if path.is_file()]
    for path in names:
        blob = opened.blob(f"{prefix}/{path.relative_to(folder)}".replace(os.sep, "/"))
        blob.upload_from_filename(str(path))
    return len(names)


def fetch(environment: dict[str, str], bucket: str, prefix: str, folder: Path) -> Path:
    """Copy the objects below a prefix, but none that stands for a folder."""
    for blob in list(open_bucket(environment, bucket).list_blobs(prefix=f"{prefix}/")):
        if not blob.name.endswith("/"):
            path = folder / blob.name.removeprefix(f"{prefix}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(blob.download_as_bytes())
    return folder
