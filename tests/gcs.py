"""A Google Cloud Storage of our own on loopback, for tests: objects in memory, and a token for whoever asks."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from gcp_storage_emulator.server import create_server


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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _service_account(folder: Path, token_port: int) -> Path:
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
def local_gcs(folder: Path, bucket: str) -> Iterator[dict[str, str]]:
    """Serve a bucket; gives the environment with which google-cloud-storage and Beam find it."""
    tokens = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Token)
    threading.Thread(target=tokens.serve_forever, daemon=True).start()
    port = _free_port()
    storage = create_server("127.0.0.1", port, in_memory=True, default_bucket=bucket)
    storage.start()
    environment = {
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
        "GOOGLE_APPLICATION_CREDENTIALS": str(_service_account(folder, tokens.server_port)),
        "GOOGLE_CLOUD_PROJECT": "test",
    }
    try:
        yield environment
    finally:
        storage.stop()
        tokens.shutdown()


def upload(environment: dict[str, str], bucket: str, folder: Path, prefix: str) -> int:
    """Put a folder's files into the bucket; gives how many."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    client = storage.Client(
        "test",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": environment["STORAGE_EMULATOR_HOST"]},
    )
    names = [path for path in folder.rglob("*") if path.is_file()]
    for path in names:
        blob = client.bucket(bucket).blob(f"{prefix}/{path.relative_to(folder)}".replace(os.sep, "/"))
        blob.upload_from_filename(str(path))
    return len(names)
