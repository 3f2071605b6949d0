"""What earlier runs have scored: a set of 16-byte keys that a nightly run looks each listed file up in.

A key stands for a file as it was listed (place, size, version) and for the models it was scored with. Every partition
keeps those of its own files in `seen-*.keys`, one after the other; a worker holds all of them as two sorted columns, 16
bytes a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from pipelines import account, sources, storage
from pipelines.cli import UsageError

_KEY_BYTES = 16
SEEN_FILES = "seen-*.keys"
# Files that could not be read: tried again each night, but no news after the first.
FAILED_FILES = "failed-*.keys"
UNCHANGED = "unchanged"
_HALVES = np.dtype([("high", ">u8"), ("low", ">u8")])


def seen_key(file: sources.SourceFile, run_fingerprint: str) -> bytes:
    """16 bytes. The same for one file however its path is spelled; another when size, version or models differ."""
    text = "\x1f".join((*sources.file_place(file), str(file.size), file.version, run_fingerprint))
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=_KEY_BYTES).digest()


class Seen:
    """A set of keys. Two keys that share their first half count as unequal: then a file is scored once more."""

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

    def known(self, keys: Sequence[bytes]) -> np.ndarray:
        """bool [n]: which of the keys are in the set."""
        if not len(self._high) or not keys:
            return np.zeros(len(keys), bool)
        wanted = np.frombuffer(b"".join(keys), _HALVES)
        high, low = wanted["high"].astype(np.uint64), wanted["low"].astype(np.uint64)
        place = np.minimum(np.searchsorted(self._high, high), len(self._high) - 1)
        return (self._high[place] == high) & (self._low[place] == low)


def by_key(key: bytes) -> tuple[str]:
    """The order of keys in their files."""
    return (key.hex(),)


def pack_keys(keys: Iterable[bytes]) -> bytes:
    """Keys one after the other."""
    return b"".join(keys)


def unpack_keys(data: bytes) -> list[bytes]:
    """The keys that `pack_keys` put together."""
    return [data[start : start + _KEY_BYTES] for start in range(0, len(data), _KEY_BYTES)]


def read_seen(partitions: Iterable[str], files: str = SEEN_FILES) -> Seen:
    """The keys in such files of finished partitions.

    Raises OSError or what the filesystem raises; ValueError for a damaged file.
    """
    parts = []
    for partition in partitions:
        for path in storage.match(storage.join(partition, files)):
            parts.append(storage.read_bytes(path))
            if len(parts[-1]) % _KEY_BYTES:
                raise ValueError(f"{path} is damaged: {len(parts[-1])} bytes, no multiple of {_KEY_BYTES}")
    return Seen(b"".join(parts))


class SkipSeen(beam.DoFn):
    """Chunk of listed files -> the files that were not scored before, as a chunk; output `unchanged`: a Counter of the
    others. Files that are no images pass."""

    def __init__(self, partitions: Sequence[str], run_fingerprint: str):
        self._partitions = partitions
        self._fingerprint = run_fingerprint
        self._unchanged = Metrics.counter("score", "unchanged")

    def setup(self) -> None:
        self._seen = read_seen(self._partitions)

    def process(self, element: list[sources.ListedFile]) -> Iterator:
        files = [listed.file for listed in element]
        known = self._seen.known([seen_key(file, self._fingerprint) for file in files])
        fresh = [listed for listed, is_known in zip(element, known, strict=True) if not is_known]
        paths = [file.path for file, is_known in zip(files, known, strict=True) if is_known]
        self._unchanged.inc(len(paths))
        if fresh:
            yield fresh
        if paths:
            sums = {("outcome", UNCHANGED): len(paths), ("outcome paths",): sum(map(account.path_hash, paths))}
            yield beam.pvalue.TaggedOutput("unchanged", sums)


def require_seen(option: str, partitions: Sequence[str]) -> int:
    """How many files the partitions know, read once before any work: raises UsageError when one is damaged."""
    try:
        return len(read_seen(partitions))
    except Exception as error:  # each filesystem raises its own kinds
        raise UsageError(f"{option}: {storage.failure(error)}") from error


def failed_again(partition: str, earlier: Sequence[str]) -> int:
    """How many files could not be read in a run, and not in earlier ones either."""
    return int(read_seen(earlier, FAILED_FILES).known(list(read_seen([partition], FAILED_FILES))).sum())
