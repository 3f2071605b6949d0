"""Pairs of near-duplicate pictures among any number: candidates by banding, confirmed by comparing pixels.

A hash is cut into bands; only pictures that agree in a whole band are compared. What crosses the shuffles of the
search is a hash and a 48-byte sketch; thumbnails follow only for pictures that have a candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from pipelines import perceptual
from pipelines.seeding import stable_hash

# Every re-encoded, resized, squashed or mildly brightened copy measured lies within 8 bits (docs/near_duplicates.md).
MAX_HASH_DISTANCE = 8
# Five bands of 12 or 13 bits: pairs within 4 bits always share one; at 6 bits 86 %, at 8 bits 64 % do if bits flip at
# random, and real copies more often. Each band takes every fifth bit, because low frequencies vary less on skin.
BANDS = 5
BAND_MASKS = tuple(sum(1 << bit for bit in range(band, 64, BANDS)) for band in range(BANDS))
# Up to this many pictures in a bucket are compared each with each. In a larger one they are ordered, and each is
# compared with the next WINDOW: work per picture is bounded, whatever the data.
BUCKET_LIMIT = 4096
WINDOW = BUCKET_LIMIT // 2
# Candidates that one picture may have among those after it in the bucket's order: the nearest by sketch. A thousand
# copies of one picture then give a net, which is all that grouping needs, and not half a million pairs.
PARTNERS = 16
_BLOCK = 64
# Marks of pictures that have a candidate; two that share a mark cost a thumbnail shuffled in vain, nothing else.
_MARK_BITS = 23

_HASH_BYTES = 8
_ENTRY_BYTES = _HASH_BYTES + perceptual.SKETCH_BYTES

Picture = tuple[str, int, bytes]


class NearPair(NamedTuple):
    """Two different identities that show one picture; first < second."""

    first: str
    second: str
    hash_distance: int
    pixel_distance: float


class SkippedBucket(NamedTuple):
    """A bucket in which not every pair was compared. `band` and `value` name it; the hash bits of the band are in
    `value`, hexadecimal. `skipped` counts comparisons not made and candidates not followed."""

    band: int
    value: str
    members: int
    skipped: int


def _band_entries(picture: Picture) -> Iterator[tuple[bytes, bytes]]:
    """(band and its bits, entry): an entry is hash, sketch and identity in one piece, which shuffles cheaply."""
    identity, phash, thumbnail = picture
    entry = phash.to_bytes(_HASH_BYTES, "big") + perceptual.sketch(thumbnail) + identity.encode()
    for band, mask in enumerate(BAND_MASKS):
        yield bytes([band]) + (phash & mask).to_bytes(_HASH_BYTES, "big"), entry


def _ordered(entries: Iterable[bytes], band: int) -> list[bytes]:
    """Entries by their hash turned by the band's share of bits, so that every band puts other neighbours together."""
    turn = band * 64 // BANDS

    def order(entry: bytes) -> tuple[int, bytes]:
        phash = int.from_bytes(entry[:_HASH_BYTES], "big")
        return (phash << turn | phash >> (64 - turn)) & (1 << 64) - 1, entry

    return sorted(entries, key=order)


def _nearest(distances: np.ndarray, likely: np.ndarray) -> np.ndarray:
    """`likely` less, in each row, all but the PARTNERS with the smallest distance; the earlier of equal ones."""
    if likely.sum(axis=1).max(initial=0) <= PARTNERS:
        return likely
    # Distances up to SKETCH_LIMIT and positions within a block each take less than 16 bits.
    order = distances.astype(np.int64) << 16 | np.arange(distances.shape[1])
    order[~likely] = 1 << 48
    last = np.partition(order, PARTNERS - 1, axis=1)[:, PARTNERS - 1 : PARTNERS]
    return likely & (order <= last)


def _likely_pairs(
    hashes: np.ndarray, sketches: np.ndarray, window: int
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """(earlier positions, later positions, how many more pairs were likely but are not followed).

    Pairs are likely whose hashes are close, whose sketches may match and that are at most `window` apart.
    """
    for start in range(0, len(hashes), _BLOCK):
        rows, columns = slice(start, start + _BLOCK), slice(start, start + _BLOCK + window)
        likely = np.bitwise_count(hashes[rows, None] ^ hashes[None, columns]) <= MAX_HASH_DISTANCE
        apart = np.arange(likely.shape[1])[None, :] - np.arange(likely.shape[0])[:, None]
        likely &= (apart > 0) & (apart <= window)
        if not likely.any():
            continue
        distances = perceptual.sketch_distances(sketches[rows], sketches[columns])
        likely &= distances <= perceptual.SKETCH_LIMIT
        followed = _nearest(distances, likely)
        earlier, later = np.nonzero(followed)
        yield earlier + start, later + start, int(likely.sum()) - len(earlier)


class _FindCandidates(beam.DoFn):
    """One bucket -> (identity, identity) of its candidates; SkippedBucket to the output "skipped"."""

    def __init__(self) -> None:
        self._candidates = Metrics.counter("near_duplicates", "candidates")
        self._skipped = Metrics.counter("near_duplicates", "skipped_comparisons")

    def process(self, element: tuple[bytes, Iterable[bytes]]) -> Iterator[object]:
        key, grouped = element
        entries = list(grouped)
        members = len(entries)
        if members < 2:
            return
        entries = _ordered(entries, key[0])
        heads = np.frombuffer(b"".join(entry[:_ENTRY_BYTES] for entry in entries), np.uint8)
        heads = heads.reshape(members, _ENTRY_BYTES)
        hashes = heads[:, :_HASH_BYTES].copy().view(">u8")[:, 0].astype(np.uint64)
        sketches = heads[:, _HASH_BYTES:].view(np.int8)
        window = members if members <= BUCKET_LIMIT else WINDOW
        beyond = max(0, members - 1 - window)
        skipped = beyond * (beyond + 1) // 2
        for earlier, later, not_followed in _likely_pairs(hashes, sketches, window):
            skipped += not_followed
            self._candidates.inc(len(earlier))
            for one, other in zip(earlier.tolist(), later.tolist(), strict=True):
                yield entries[one][_ENTRY_BYTES:], entries[other][_ENTRY_BYTES:]
        if skipped:
            self._skipped.inc(skipped)
            yield beam.pvalue.TaggedOutput("skipped", SkippedBucket(key[0], key[1:].hex(), members, skipped))


def _mark(identity: bytes) -> int:
    return stable_hash(identity.decode()) >> (64 - _MARK_BITS)


class _Marks(beam.CombineFn):
    """Marks -> one bit each, in 1 MiB however many there are."""

    def create_accumulator(self) -> np.ndarray:
        return np.zeros(1 << (_MARK_BITS - 3), np.uint8)

    def add_input(self, bits: np.ndarray, mark: int) -> np.ndarray:
        bits[mark >> 3] |= 1 << (mark & 7)
        return bits

    def merge_accumulators(self, accumulators: Iterable[np.ndarray]) -> np.ndarray:
        merged = self.create_accumulator()
        for bits in accumulators:
            merged |= bits
        return merged

    def extract_output(self, bits: np.ndarray) -> bytes:
        return bits.tobytes()


def _wanted(picture: Picture, marks: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(identity, hash and thumbnail) of a picture that is marked."""
    identity, phash, thumbnail = picture[0].encode(), picture[1], picture[2]
    mark = _mark(identity)
    if marks[mark >> 3] >> (mark & 7) & 1:
        yield identity, phash.to_bytes(_HASH_BYTES, "big") + thumbnail


def _both_ways(pair: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return [] if pair[0] == pair[1] else [pair, pair[::-1]]


def _to_pairs(element: tuple[bytes, dict[str, Iterable]]) -> Iterator[tuple[tuple[bytes, bytes], bytes]]:
    """One picture and its partners -> the picture once under each pair it belongs to."""
    identity, joined = element
    # An identity given twice is compared once, as the smaller of the two.
    picture = min(joined["pictures"], default=b"")
    for partner in sorted(set(joined["partners"])):
        yield (min(identity, partner), max(identity, partner)), picture


class _Confirm(beam.DoFn):
    """The two pictures of a pair -> NearPair if they are the same picture."""

    def __init__(self) -> None:
        self._compared = Metrics.counter("near_duplicates", "compared")
        self._confirmed = Metrics.counter("near_duplicates", "confirmed")

    def process(self, element: tuple[tuple[bytes, bytes], Iterable[bytes]]) -> Iterator[NearPair]:
        (first, second), pictures = element
        one, other = pictures
        self._compared.inc()
        distance = perceptual.pixel_distance(one[_HASH_BYTES:], other[_HASH_BYTES:])
        if distance <= perceptual.SAME_PICTURE:
            self._confirmed.inc()
            hashes = [int.from_bytes(picture[:_HASH_BYTES], "big") for picture in (one, other)]
            yield NearPair(first.decode(), second.decode(), perceptual.hash_distance(*hashes), distance)


class _Confirmed(beam.PTransform):
    """({"candidates": pairs of identities, "pictures": all}) -> NearPair, each once."""

    def expand(self, inputs: dict[str, beam.PCollection]) -> beam.PCollection[NearPair]:
        candidates, pictures = inputs["candidates"], inputs["pictures"]
        both = candidates | "Both ways" >> beam.FlatMap(_both_ways).with_output_types(tuple[bytes, bytes])
        marks = (
            both
            | "Mark" >> beam.Map(lambda pair: _mark(pair[0])).with_output_types(int)
            | "Marks" >> beam.CombineGlobally(_Marks())
        )
        wanted = pictures | "Wanted" >> beam.FlatMap(_wanted, beam.pvalue.AsSingleton(marks)).with_output_types(
            tuple[bytes, bytes]
        )
        return (
            {"pictures": wanted, "partners": both}
            | "Fetch thumbnails" >> beam.CoGroupByKey()
            | "To pairs" >> beam.FlatMap(_to_pairs).with_output_types(tuple[tuple[bytes, bytes], bytes])
            | "By pair" >> beam.GroupByKey()
            | "Compare" >> beam.ParDo(_Confirm())
        )


class FindNearDuplicates(beam.PTransform):
    """(identity, perceptual hash, thumbnail) -> (NearPair, SkippedBucket): two PCollections.

    Identities are distinct and can be encoded as UTF-8, as Beam's coders demand. Each confirmed pair comes once. Both
    outputs depend on the set of pictures alone, whatever their order or the runner. No two pictures are compared that
    share no band; work per picture is bounded by BANDS * BUCKET_LIMIT comparisons and BANDS * PARTNERS candidates,
    and whatever those limits leave out is a SkippedBucket.
    Counters (namespace near_duplicates): candidates, compared, confirmed, skipped_comparisons.
    """

    def expand(
        self, pictures: beam.PCollection[Picture]
    ) -> tuple[beam.PCollection[NearPair], beam.PCollection[SkippedBucket]]:
        found = (
            pictures
            | "Cut into bands" >> beam.FlatMap(_band_entries).with_output_types(tuple[bytes, bytes])
            | "By band" >> beam.GroupByKey()
            | "Candidates" >> beam.ParDo(_FindCandidates()).with_outputs("skipped", main="candidates")
        )
        pairs = {"candidates": found.candidates, "pictures": pictures} | "Confirm" >> _Confirmed()
        return pairs, found.skipped
