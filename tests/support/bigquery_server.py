"""A BigQuery of our own on loopback, for tests: it takes Beam's load jobs and says no where BigQuery would.

Beam's client, httplib2, knows no other address, but it takes a proxy (with PySocks): this one answers for
bigquery.googleapis.com itself, with a certificate that HTTPLIB2_CA_CERTS makes known.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.tls import answering

HOST = "bigquery.googleapis.com"


def _is_time(value: object) -> bool:
    return isinstance(value, str) and datetime.datetime.fromisoformat(value).tzinfo is not None


_IS_TYPE: dict[str, Callable[[object], bool]] = {
    "STRING": lambda value: isinstance(value, str),
    "INTEGER": lambda value: isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63,
    "FLOAT": lambda value: isinstance(value, float | int) and not isinstance(value, bool),
    "BOOLEAN": lambda value: isinstance(value, bool),
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

    def answer(method: str, path: str, _: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        status, content = service.answer(method, path, body)
        return status, {"Content-Type": "application/json"}, json.dumps(content).encode()

    with answering(folder, [HOST], answer) as (proxy, certificate):
        yield (
            service,
            {"https_proxy": proxy, "no_proxy": "127.0.0.1,localhost", "HTTPLIB2_CA_CERTS": str(certificate)},
        )
