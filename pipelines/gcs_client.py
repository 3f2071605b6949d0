"""The client of Google Cloud Storage, one for each thread: each asks for its own token and for the bucket's data."""

from __future__ import annotations

import functools
import os
import threading


@functools.lru_cache(maxsize=64)
def _client(thread: int, emulator: str | None):
    # Imported here: it takes a second, and most inputs are local.
    from google.cloud import storage  # type: ignore[attr-defined]  # a namespace package

    return storage.Client()


def gcs_client():
    """A google.cloud.storage.Client with the application's own credentials."""
    # A session is not safe to share between threads.
    return _client(threading.get_ident(), os.environ.get("STORAGE_EMULATOR_HOST"))
