"""Remember what earlier runs have scored: a set of 16-byte keys in which a nightly run looks up each listed file.

A key identifies a file as listed (place, size, version) together with the models that scored it. Each partition keeps
the keys of its own files, concatenated, in `_seen-*.keys`. A worker holds all keys as two sorted columns, 16 bytes per
file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pipelines.common.cli import UsageError
from pipelines.common.gcs_client import ServiceUnavailable
from pipelines.sources.source_file import SourceFile, file_place
from pipelines.storage import filesystem
from pipelines.storage.errors import StorageError

_KEY_BYTES = 16
SCORED_FILES = "_seen-*.keys"
# Keys of files that could not be read. They are tried again each night, but count as news only the first time.
FAILED_FILES = "_failed-*.keys"
UNCHANGED = "unchanged"
_HALVES = np.dtype([("high", ">u8"), ("low", ">u8")])


def scored_key(file: SourceFile, run_fingerprint: str) -> bytes:
    """Return the 16-byte key of a file.

    The key does not depend on how the path is spelled. It changes with size, version or models.

    Args:
        file: The listed file.
        run_fingerprint: `ScoringRun.fingerprint`.
    """
    text = "\x1f".join((*file_place(file), str(file.size), file.version, run_fingerprint))
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=_KEY_BYTES).digest()


class ScoredKeys:
    """A set of keys.

    Of keys that share their first half, only one is found; the files of the others are scored once more.
    """

    def __init__(self, keys: bytes):
        halves = np.frombuffer(keys, _HALVES)
        order = np.argsort(halves["high"], kind="stable")
        self._high = halves["high"][order].astype(np.uint64)
        self._low = halves["low"][order].astype(np.uint64)

    def __len__(self) -> int:
        return len(self._high)

    def __iter__(self) -> Iterator[bytes]:
        halves = np.empty(len(self), _HALVES)
        halves["high"], halves["low"] = self._high, self._low
        return iter(unpack_keys(halves.tobytes()))

    def contains(self, keys: Sequence[bytes]) -> np.ndarray:
        """Look up keys in the set.

        Args:
            keys: n keys of 16 bytes.

        Returns:
            bool [n], whether each key is in the set.
        """
        if not len(self._high) or not keys:
            return np.zeros(len(keys), bool)
        wanted = np.frombuffer(b"".join(keys), _HALVES)
        high, low = wanted["high"].astype(np.uint64), wanted["low"].astype(np.uint64)
        place = np.minimum(np.searchsorted(self._high, high), len(self._high) - 1)
        return (self._high[place] == high) & (self._low[place] == low)


def by_key(key: bytes) -> tuple[str]:
    """Return the sort key that orders keys in their files."""
    return (key.hex(),)


def pack_keys(keys: Iterable[bytes]) -> bytes:
    """Concatenate keys."""
    return b"".join(keys)


def unpack_keys(data: bytes) -> list[bytes]:
    """Split the output of `pack_keys` into keys."""
    return [data[start : start + _KEY_BYTES] for start in range(0, len(data), _KEY_BYTES)]


def read_scored_keys(partitions: Iterable[str], files: str = SCORED_FILES) -> ScoredKeys:
    """Read all keys of finished partitions.

    Args:
        partitions: Partition folders.
        files: Glob pattern of the key files, SCORED_FILES or FAILED_FILES.

    Raises:
        StorageError: A file cannot be read.
        ServiceUnavailable: Cloud Storage itself does not respond.
        ValueError: A file is damaged.
    """
    parts = []
    for partition in partitions:
        for path in filesystem.match(filesystem.join(partition, files)):
            parts.append(filesystem.read_bytes(path))
            if len(parts[-1]) % _KEY_BYTES:
                raise ValueError(f"{path} is damaged: {len(parts[-1])} bytes, no multiple of {_KEY_BYTES}")
    return ScoredKeys(b"".join(parts))


def require_scored_keys(option: str, partitions: Sequence[str]) -> None:
    """Read the keys of the partitions once, before any work.

    Args:
        option: The option that named the partitions, for the error message.
        partitions: Partition folders.

    Raises:
        UsageError: A key file is damaged or cannot be read.
    """
    try:
        read_scored_keys(partitions)
    except (StorageError, ServiceUnavailable) as error:
        raise UsageError(f"{option}: {error}") from error
    except ValueError as error:
        raise UsageError(f"{option}: ValueError: {error}") from error


def failed_again(partition: str, earlier: Sequence[str]) -> int:
    """Return the number of files that could not be read in a run nor in earlier ones."""
    failed = list(read_scored_keys([partition], FAILED_FILES))
    return int(read_scored_keys(earlier, FAILED_FILES).contains(failed).sum())
