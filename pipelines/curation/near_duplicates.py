"""Find pairs of near-duplicate pictures in a collection of any size: banding finds candidates, pixels confirm them.

A hash is cut into bands, and only pictures that agree in a whole band are compared. The search shuffles hashes and
48-byte sketches; thumbnails are read and shuffled only for pictures that have a candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from pipelines.beam.packed_groups import PackedCoGroupByKey, PackedGroupByKey
from pipelines.beam.threads import in_global_window
from pipelines.common.seeding import stable_hash
from pipelines.imaging import perceptual

# All measured copies that were re-encoded, resized, squashed or mildly brightened lie within 8 bits
# (docs/near_duplicates.md).
MAX_HASH_DISTANCE = 8
# Five bands of 12 or 13 bits. Pairs within 4 bits always share a band; if bits flip at random, 86 % of pairs at 6 bits
# and 64 % at 8 bits do, and real copies do more often. Each band takes every fifth bit because low frequencies vary
# less on skin.
BANDS = 5
BAND_MASKS = tuple(sum(1 << bit for bit in range(band, 64, BANDS)) for band in range(BANDS))
# In a bucket of up to this many pictures, all pairs are compared. In a larger one the pictures are ordered and each is
# compared with the next WINDOW, so that the work per picture is bounded whatever the data.
BUCKET_LIMIT = 4096
WINDOW = BUCKET_LIMIT // 2
# Maximum number of candidates that a picture may have among the later ones in the bucket's order: the nearest by
# sketch. A thousand copies of one picture then form a connected net, which is all that grouping needs, instead of half
# a million pairs.
PARTNERS = 16
_BLOCK = 64
# Bits of the marks of pictures that have a candidate. If two pictures share a mark, a thumbnail may be shuffled in
# vain; nothing else happens.
_MARK_BITS = 23


# Pictures whose thumbnails are loaded together.
_LOADED_AT_ONCE = 16_384

Load = Callable[[list[Any]], list[bytes]]

_HASH_BYTES = 8
_ENTRY_BYTES = _HASH_BYTES + perceptual.SKETCH_BYTES


class Picture(NamedTuple):
    """What the search knows of a picture."""

    identity: str
    phash: int  # perceptual hash
    sketch: bytes  # see `perceptual.sketch`
    thumbnail: Any  # the thumbnail, or what `load` finds it by


class NearPair(NamedTuple):
    """Two different identities that show one picture."""

    first: str  # less than `second`
    second: str
    hash_distance: int  # bits
    pixel_distance: float  # see `perceptual.pixel_distance`


class SkippedBucket(NamedTuple):
    """A bucket in which not all pairs were compared, named by `band` and `value`."""

    band: int
    value: str  # the band's bits of the hash, hexadecimal
    members: int
    skipped: int  # comparisons not made plus candidates not followed


def _band_entries(picture: Picture) -> Iterator[tuple[bytes, bytes]]:
    """Yield (band and its bits, entry) for each band.

    An entry is hash, sketch and identity joined into one byte string, which is cheap to shuffle.
    """
    entry = picture.phash.to_bytes(_HASH_BYTES, "big") + picture.sketch + picture.identity.encode()
    for band, mask in enumerate(BAND_MASKS):
        yield bytes([band]) + (picture.phash & mask).to_bytes(_HASH_BYTES, "big"), entry


def _ordered(entries: Iterable[bytes], band: int) -> list[bytes]:
    """Sort entries by their hash, rotated by an amount that depends on the band.

    Each band thus puts other entries next to each other.
    """
    turn = band * 64 // BANDS

    def order(entry: bytes) -> tuple[int, bytes]:
        phash = int.from_bytes(entry[:_HASH_BYTES], "big")
        return (phash << turn | phash >> (64 - turn)) & (1 << 64) - 1, entry

    return sorted(entries, key=order)


def _nearest(distances: np.ndarray, likely: np.ndarray) -> np.ndarray:
    """Keep in each row of `likely` only the PARTNERS with the smallest distance, the earlier of equal ones."""
    if likely.sum(axis=1).max(initial=0) <= PARTNERS:
        return likely
    # Distances up to SKETCH_LIMIT and positions within a block each fit into 16 bits.
    order = distances.astype(np.int64) << 16 | np.arange(distances.shape[1])
    order[~likely] = 1 << 48
    last = np.partition(order, PARTNERS - 1, axis=1)[:, PARTNERS - 1 : PARTNERS]
    return likely & (order <= last)


def _likely_pairs(
    hashes: np.ndarray, sketches: np.ndarray, window: int
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Yield (earlier positions, later positions, number of likely pairs that are not followed) block by block.

    A pair is likely if its hashes are close, its sketches may match and its positions are at most `window` apart.
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
    """One bucket -> (identity, identity) of each candidate pair; SkippedBucket on the output "skipped"."""

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
    """Marks -> a bitmap with one bit per possible mark; always 1 MiB."""

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


class _Wanted(beam.DoFn):
    """Pictures -> (identity, hash and thumbnail) of those that are marked."""

    def __init__(self, load: Load):
        self._load = load

    def start_bundle(self) -> None:
        self._waiting: list[Picture] = []

    def process(self, picture: Picture, marks: bytes) -> Iterator[tuple[bytes, bytes]]:
        mark = _mark(picture.identity.encode())
        if marks[mark >> 3] >> (mark & 7) & 1:
            self._waiting.append(picture)
            if len(self._waiting) == _LOADED_AT_ONCE:
                yield from self._loaded()

    def finish_bundle(self) -> Iterator:
        yield from map(in_global_window, self._loaded())

    def _loaded(self) -> Iterator[tuple[bytes, bytes]]:
        pictures, self._waiting = self._waiting, []
        thumbnails = self._load([picture.thumbnail for picture in pictures])
        for picture, thumbnail in zip(pictures, thumbnails, strict=True):
            yield picture.identity.encode(), picture.phash.to_bytes(_HASH_BYTES, "big") + thumbnail


def _both_ways(pair: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return [] if pair[0] == pair[1] else [pair, pair[::-1]]


def _to_pairs(element: tuple[bytes, dict[str, Iterable]]) -> Iterator[tuple[tuple[bytes, bytes], bytes]]:
    """Yield the picture once under each pair it belongs to."""
    identity, joined = element
    # If an identity occurs twice, only the smaller of its two pictures is compared.
    picture = min(joined["pictures"], default=b"")
    for partner in sorted(set(joined["partners"])):
        yield (min(identity, partner), max(identity, partner)), picture


class _Confirm(beam.DoFn):
    """The two entries of a pair -> NearPair if they show the same picture."""

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
    """{"candidates": pairs of identities, "pictures": all pictures} -> distinct NearPairs."""

    def __init__(self, load: Load):
        super().__init__()
        self._load = load

    def expand(self, inputs: dict[str, beam.PCollection]) -> beam.PCollection[NearPair]:
        candidates, pictures = inputs["candidates"], inputs["pictures"]
        both = candidates | "Both ways" >> beam.FlatMap(_both_ways).with_output_types(tuple[bytes, bytes])
        marks = (
            both
            | "Mark" >> beam.Map(lambda pair: _mark(pair[0])).with_output_types(int)
            | "Marks" >> beam.CombineGlobally(_Marks())
        )
        wanted = pictures | "Wanted" >> beam.ParDo(
            _Wanted(self._load), beam.pvalue.AsSingleton(marks)
        ).with_output_types(tuple[bytes, bytes])
        return (
            {"pictures": wanted, "partners": both}
            | "Fetch thumbnails" >> PackedCoGroupByKey()
            | "To pairs" >> beam.FlatMap(_to_pairs).with_output_types(tuple[tuple[bytes, bytes], bytes])
            | "By pair" >> PackedGroupByKey()
            | "Compare" >> beam.ParDo(_Confirm())
        )


class FindNearDuplicates(beam.PTransform):
    """PTransform: Pictures -> two PCollections, of NearPair and of SkippedBucket.

    Identities must be distinct and encodable as UTF-8, as Beam's coders require. Each confirmed pair is emitted once.
    Both outputs depend on the set of pictures alone, not on their order or the runner.

    Pictures that share no band are not compared. The work per picture is bounded by BANDS * BUCKET_LIMIT comparisons
    and BANDS * PARTNERS candidates; whatever these limits leave out is reported as a SkippedBucket.

    Counters (namespace near_duplicates): candidates, compared, confirmed, skipped_comparisons.

    Args:
        load: Turns what pictures have as `thumbnail` into the thumbnails, in order. It is called only for pictures that
            have a candidate, with many at once.
    """

    def __init__(self, load: Load = list):
        super().__init__()
        self._load = load

    def expand(
        self, pictures: beam.PCollection[Picture]
    ) -> tuple[beam.PCollection[NearPair], beam.PCollection[SkippedBucket]]:
        """Turn all pictures into the confirmed pairs and the buckets in which comparisons were skipped."""
        found = (
            pictures
            | "Cut into bands" >> beam.FlatMap(_band_entries).with_output_types(tuple[bytes, bytes])
            | "By band" >> PackedGroupByKey()
            | "Candidates" >> beam.ParDo(_FindCandidates()).with_outputs("skipped", main="candidates")
        )
        pairs = {"candidates": found.candidates, "pictures": pictures} | "Confirm" >> _Confirmed(self._load)
        return pairs, found.skipped
