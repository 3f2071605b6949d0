"""How well near-duplicates are found, and how fast: `python -m benchmarks.near_duplicates --data DIR`.

DIR holds `isic9/Train/CLASS/*.jpg` and `ham10000/images/*.jpg` with `ham10000/HAM10000_metadata.csv`; the two share
some images under one ISIC id, encoded differently and, in the nine-class set, squashed to 180 x 180.
"""

from __future__ import annotations

import argparse
import csv
import io
import multiprocessing
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import apache_beam as beam
import numpy as np
from PIL import Image, ImageEnhance

from pipelines.curation.near_duplicates import (
    BAND_MASKS,
    BUCKET_LIMIT,
    MAX_HASH_DISTANCE,
    FindNearDuplicates,
    NearPair,
    Picture,
)
from pipelines.domain.image_ids import image_id_of
from pipelines.imaging import images, perceptual

Signature = tuple[int, bytes]
# Every n-th HAM10000 image is altered; the alterations are the slow part.
STRIDE = 5
# In synthetic archives, one picture in so many has a planted copy.
PLANTED_EVERY = 30


def _encoded(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def _cropped(image: Image.Image, share: float) -> Image.Image:
    x, y = int(image.width * share), int(image.height * share)
    return image.crop((x, y, image.width - x, image.height - y))


ALTERATIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG quality 50": lambda image: _encoded(image, 50),
    "JPEG quality 30": lambda image: _encoded(image, 30),
    "half size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "squashed to 180x180, quality 60": lambda image: _encoded(image.resize((180, 180)), 60),
    "squashed to 180x180, nearest pixel": lambda image: image.resize((180, 180), Image.Resampling.NEAREST),
    "squashed to 64x64, quality 75": lambda image: _encoded(image.resize((64, 64)), 75),
    "brightness +10 %": lambda image: _encoded(ImageEnhance.Brightness(image).enhance(1.1), 90),
    "brightness -10 %": lambda image: _encoded(ImageEnhance.Brightness(image).enhance(0.9), 90),
    "brightness +20 %": lambda image: _encoded(ImageEnhance.Brightness(image).enhance(1.2), 90),
    "contrast +15 %": lambda image: _encoded(ImageEnhance.Contrast(image).enhance(1.15), 90),
    "saturation +20 %": lambda image: _encoded(ImageEnhance.Color(image).enhance(1.2), 90),
    "cropped 1 % a side": lambda image: _cropped(image, 0.01),
    "cropped 2 % a side": lambda image: _cropped(image, 0.02),
    "cropped 5 % a side": lambda image: _cropped(image, 0.05),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def _picture(identity: str, phash: int, thumbnail: bytes) -> Picture:
    return Picture(identity, phash, perceptual.sketch(thumbnail), thumbnail)


def _signature(picture: Picture) -> Signature:
    return picture.phash, picture.thumbnail


def file_signature(path: Path) -> Signature:
    """Hash and thumbnail of a file, decoded no larger than needed."""
    data = path.read_bytes()
    info = images.read_info(data)
    factor = images.reduction(info.width, info.height, images.SHARED_SIDE, "stretch")
    return perceptual.signature(perceptual.square_of(images.decode_image(data, factor)))


def altered_signatures(path: Path) -> dict[str, Signature]:
    """Signatures of a file's altered copies."""
    image = Image.open(path).convert("RGB")
    return {
        name: perceptual.signature(perceptual.square_of(alter(image).convert("RGB")))
        for name, alter in ALTERATIONS.items()
    }


def is_candidate(first: Signature, second: Signature) -> bool:
    """Whether the search proposes the pair: hashes close, and equal in one band at least."""
    differing = first[0] ^ second[0]
    return differing.bit_count() <= MAX_HASH_DISTANCE and any(not differing & mask for mask in BAND_MASKS)


def _recall_row(name: str, pairs: Sequence[tuple[Signature, Signature]]) -> str:
    close = sum(perceptual.hash_distance(a[0], b[0]) <= MAX_HASH_DISTANCE for a, b in pairs)
    candidates = sum(is_candidate(a, b) for a, b in pairs)
    distances = np.array([perceptual.pixel_distance(a[1], b[1]) for a, b in pairs])
    same = int((distances <= perceptual.SAME_PICTURE).sum())
    found = sum(
        is_candidate(*pair) and distance <= perceptual.SAME_PICTURE
        for pair, distance in zip(pairs, distances, strict=True)
    )
    shares = "  ".join(f"{100 * count / len(pairs):6.2f}" for count in (close, candidates, same, found))
    return f"{name:36}{len(pairs):6}  {shares}  {np.percentile(distances, 99):7.3f}  {distances.max():7.3f}"


def _lesions(table: Path) -> dict[str, str]:
    with open(table, newline="", encoding="utf-8") as file:
        return {row["image_id"]: row["lesion_id"] for row in csv.DictReader(file)}


def _all_close_pairs(pictures: Sequence[Picture]) -> list[tuple[Picture, Picture]]:
    """Every pair within MAX_HASH_DISTANCE, by comparing all with all: what banding is measured against."""
    hashes = np.array([picture.phash for picture in pictures], np.uint64)
    pairs = []
    for position, phash in enumerate(hashes):
        (others,) = np.nonzero(np.bitwise_count(hashes[position + 1 :] ^ phash) <= MAX_HASH_DISTANCE)
        pairs += [(pictures[position], pictures[position + 1 + int(other)]) for other in others]
    return pairs


def _verdict(first: str, second: str, lesions: dict[str, str]) -> str:
    if first not in lesions or second not in lesions:
        return "unknown"
    return "same lesion" if lesions[first] == lesions[second] else "different lesions"


def print_distinct(pictures: Sequence[Picture], lesions: dict[str, str]) -> None:
    """Pairs of different ISIC ids: how many the hash proposes, how many the pixels confirm, and what metadata says."""
    close = _all_close_pairs(pictures)
    largest = max(max(Counter(picture.phash & mask for picture in pictures).values()) for mask in BAND_MASKS)
    total = len(pictures) * (len(pictures) - 1) // 2
    print(f"\nPairs of different ISIC ids: {len(pictures):,} images, {total:,} pairs, largest bucket {largest}")
    print(f"{'':22}{'in ' + str(MAX_HASH_DISTANCE) + ' bits':>12}{'candidates':>12}{'confirmed':>12}{'nearest':>10}")
    for verdict in ("same lesion", "different lesions", "unknown"):
        pairs = [pair for pair in close if _verdict(pair[0].identity, pair[1].identity, lesions) == verdict]
        candidates = [pair for pair in pairs if is_candidate(*map(_signature, pair))]
        distances = [perceptual.pixel_distance(a.thumbnail, b.thumbnail) for a, b in candidates]
        confirmed = sum(distance <= perceptual.SAME_PICTURE for distance in distances)
        nearest = f"{min(distances):.3f}" if distances else "-"
        print(f"{verdict:22}{len(pairs):12,}{len(candidates):12,}{confirmed:12,}{nearest:>10}")


def print_recall(shared: Sequence[tuple[Signature, Signature]], altered: dict[str, list]) -> None:
    """Recall of each stage, in percent, and pixel distances (99th percentile and largest)."""
    print(f"{'copies, % recognised':36}{'n':>6}  in bits  banded  pixels   found  dist 99 %  largest")
    print(_recall_row("same id in both sets", shared))
    for name, pairs in altered.items():
        print(_recall_row(name, pairs))


def _copy_of(rng: np.random.Generator, phash: int, thumbnail: bytes, bits: int) -> Signature:
    for bit in rng.choice(63, bits, replace=False):
        phash ^= 1 << int(bit)
    noisy = np.frombuffer(thumbnail, np.uint8) + rng.integers(-2, 3, len(thumbnail))
    return phash, np.clip(noisy, 0, 255).astype(np.uint8).tobytes()


def synthetic_pictures(thousand: int) -> Iterator[Picture]:
    """A thousand random pictures, and copies of every PLANTED_EVERY-th with 0, 2, 4, 6 or 8 bits changed."""
    rng = np.random.default_rng(thousand)
    for number in range(1000):
        phash, thumbnail = int(rng.integers(0, 1 << 63)), rng.bytes(768)
        yield _picture(f"{thousand}/{number:03d}", phash, thumbnail)
        if number % PLANTED_EVERY == 0:
            bits = 2 * (number // PLANTED_EVERY % 5)
            yield _picture(f"{thousand}/{number:03d}~{bits}", *_copy_of(rng, phash, thumbnail, bits))


def identical_pictures(thousand: int) -> Iterator[Picture]:
    """A thousand copies of one picture: the worst that can happen to a bucket."""
    thumbnail = np.random.default_rng(0).bytes(768)
    for number in range(1000):
        yield _picture(f"{thousand}/{number:03d}", 0x5555AAAA5555AAAA, thumbnail)


def _peak_gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def timed_run(start: beam.PTransform, pairs_at: str) -> tuple[float, float, float, dict[str, int]]:
    """Seconds, GiB before and at the peak, and counters of finding the near-duplicates among `start`'s pictures."""
    pipeline = beam.Pipeline(runner="FnApiRunner")
    pairs, _ = pipeline | start | "Find near-duplicates" >> FindNearDuplicates()
    _ = pairs | "Format" >> beam.Map(_pair_line) | beam.io.WriteToText(pairs_at)
    before, started = _peak_gigabytes(), time.perf_counter()
    result = pipeline.run()
    result.wait_until_finish()
    seconds = time.perf_counter() - started
    query = beam.metrics.MetricsFilter().with_namespace("near_duplicates")
    counters = {counter.key.metric.name: counter.committed for counter in result.metrics().query(query)["counters"]}
    return seconds, before, _peak_gigabytes(), counters


def _pair_line(pair: NearPair) -> str:
    return "\t".join(map(str, pair))


def _timed_synthetic(make: Callable[[int], Iterator[Picture]], thousands: int) -> tuple:
    with tempfile.TemporaryDirectory() as folder:
        start = beam.Create(range(thousands)) | beam.FlatMap(make)
        measured = timed_run(start, f"{folder}/pairs")
        lines = [line.split("\t") for path in Path(folder).iterdir() for line in path.read_text().splitlines()]
    found = [sum(second == f"{first}~{bits}" for first, second, *_ in lines) for bits in (0, 2, 4, 6, 8)]
    return *measured, found


def _timed_real(pictures: list[Picture]) -> tuple:
    with tempfile.TemporaryDirectory() as folder:
        return timed_run(beam.Create(pictures), f"{folder}/pairs")


def _alone(function: Callable, *arguments: object) -> tuple:
    """The function's result from a process of its own, so that peaks of memory do not add up."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _print_time(name: str, count: int, measured: tuple) -> None:
    seconds, before, peak, counters = measured[:4]
    numbers = "".join(
        f"{counters.get(key, 0):14,}" for key in ("candidates", "compared", "confirmed", "skipped_comparisons")
    )
    print(f"{name:24}{count:9,}{seconds:9.1f}{before:10.2f}{peak:8.2f}{numbers}")


def print_times(pictures: list[Picture], thousands: int) -> None:
    """Time and memory of the transform on the in-process runner."""
    print(
        f"\n{'transform':24}{'pictures':>9}{'seconds':>9}{'GiB start':>10}{'peak':>8}"
        f"{'candidates':>14}{'compared':>14}{'confirmed':>14}{'skipped':>14}"
    )
    _print_time("real images", len(pictures), _alone(_timed_real, pictures))
    for size in (thousands // 10, thousands):
        planted = size * len(range(0, 1000, PLANTED_EVERY))
        measured = _alone(_timed_synthetic, synthetic_pictures, size)
        _print_time("random, some planted", size * 1000 + planted, measured)
    each = size * np.bincount([number // PLANTED_EVERY % 5 for number in range(0, 1000, PLANTED_EVERY)])
    shares = (
        f"{bits} bits {100 * found / n:.1f} %" for bits, found, n in zip(range(0, 9, 2), measured[4], each, strict=True)
    )
    print("planted copies found:", ", ".join(shares))
    _print_time("one picture, repeated", 20_000, _alone(_timed_synthetic, identical_pictures, 20))
    print(f"(a bucket is searched whole up to {BUCKET_LIMIT:,} pictures)")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with isic9 and ham10000")
    parser.add_argument("--thousands", type=int, default=300, help="size of the synthetic archive (default 300)")
    options = parser.parse_args(argv)
    ham = sorted((options.data / "ham10000" / "images").glob("*.jpg"))
    nine = sorted((options.data / "isic9" / "Train").glob("*/*.jpg"))
    with ProcessPoolExecutor() as pool:
        signatures = dict(zip(ham + nine, pool.map(file_signature, ham + nine, chunksize=64), strict=True))
        altered = list(pool.map(altered_signatures, ham[::STRIDE], chunksize=16))
    by_id = {image_id_of(path.name): signatures[path] for path in ham}
    ids = [(image_id_of(path.name), signatures[path]) for path in nine]
    print_recall(
        [(by_id[image_id], signature) for image_id, signature in ids if image_id in by_id],
        {
            name: [(signatures[path], copies[name]) for path, copies in zip(ham[::STRIDE], altered, strict=True)]
            for name in ALTERATIONS
        },
    )
    distinct = [_picture(image_id, *signature) for image_id, signature in sorted((dict(ids) | by_id).items())]
    print_distinct(distinct, _lesions(options.data / "ham10000" / "HAM10000_metadata.csv"))
    print_times(distinct[:5000], options.thousands)


if __name__ == "__main__":
    main()
