"""A BigQuery of our own on loopback, for tests: it takes Beam's load jobs and says no where BigQuery would.

Beam's client, httplib2, knows no other address, but it takes a proxy (with PySocks): this one answers for
bigquery.googleapis.com itself, with a certificate that HTTPLIB2_CA_CERTS makes known.
"""

from __future__ import annotations

import contextlib
import datetime
import http.server
import json
import ssl
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "bigquery.googleapis.com"


def _certificate(folder: Path) -> Path:
    """Certificate and key of HOST in one file, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "bigquery.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def _is_time(value: object) -> bool:
    return isinstance(value, str) and datetime.datetime.fromisoformat(value).tzinfo is not None


_IS_TYPE: dict[str, Callable[[object], bool]] = {
    "STRING": lambda value: isinstance(value, str),
    "INTEGER": lambda value: isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63,
    "FLOAT": lambda value: isinstance(value, float | int) and not isinstance(value, bool),
    "TIMESTAMP": _is_time,
}


def _wrong_with(row: dict, fields: list[dict]) -> str:
    """Why BigQuery would not load a row; empty where it would."""
    unknown = row.keys() - {field["name"] for field in fields}
    if unknown:
        return f"no such field: {sorted(unknown)}"
    for field in fields:
        value = row.get(field["name"])
        if value is None:
            if field["mode"] == "REQUIRED":
                return f"missing required field: {field['name']}"
        elif not _IS_TYPE[field["type"]](value):
            return f"not of type {field['type']}: {field['name']} {value!r}"
    return ""


class LocalBigQuery:
    """tables: `PROJECT:DATASET.TABLE` -> its rows; loads: what each load job said; other: requests not understood."""

    def __init__(self, storage: str):
        self._storage = storage
        self.tables: dict[str, list[dict]] = {}
        self.loads: list[dict] = []
        self.other: list[str] = []
        self._jobs: dict[str, dict] = {}

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict]:
        """HTTP status and content for a request."""
        match [part for part in path.partition("?")[0].split("/") if part]:
            case ["bigquery", "v2", "projects", _, "jobs"] if method == "POST":
                return 200, self._load(json.loads(body))
            case ["bigquery", "v2", "projects", _, "jobs", job] if method == "GET" and job in self._jobs:
                return 200, self._jobs[job]
        self.other.append(f"{method} {path}")
        return 404, {"error": {"code": 404, "message": f"not here: {method} {path}"}}

    def _object(self, uri: str) -> bytes:
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        place = f"{self._storage}/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}?alt=media"
        with urllib.request.urlopen(place) as response:
            return response.read()

    def _load(self, job: dict) -> dict:
        load = job["configuration"]["load"]
        target = load["destinationTable"]
        rows = [
            json.loads(line)
            for uri in load["sourceUris"]
            for line in self._object(uri).decode().split("\n")
            if line.strip()
        ]
        wrong = next(filter(None, (_wrong_with(row, load["schema"]["fields"]) for row in rows)), "")
        if not wrong:
            name = f"{target['projectId']}:{target['datasetId']}.{target['tableId']}"
            self.tables.setdefault(name, []).extend(rows)
        self.loads.append(load)
        error = {"errorResult": {"reason": "invalid", "message": wrong}} if wrong else {}
        done = {**job, "status": {"state": "DONE", **error}}
        self._jobs[job["jobReference"]["jobId"]] = done
        return done


@contextlib.contextmanager
def local_bigquery(folder: Path, storage: str) -> Iterator[tuple[LocalBigQuery, dict[str, str]]]:
    """Serve BigQuery over the storage at a URL; gives it and the environment with which Beam finds it."""
    service = LocalBigQuery(storage)
    certificate = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_CONNECT(self) -> None:
            if self.path != f"{HOST}:443":
                self.send_error(502)  # google-auth asks others, too, and does without them
                return
            self.send_response(200)
            self.end_headers()
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb")
            self.close_connection = False

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, content = service.answer(self.command, self.path, body)
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        "https_proxy": f"http://127.0.0.1:{server.server_port}",
        "no_proxy": "127.0.0.1,localhost",
        "HTTPLIB2_CA_CERTS": str(certificate),
    }
    try:
        yield service, environment
    finally:
        server.shutdown()
        server.server_close()
