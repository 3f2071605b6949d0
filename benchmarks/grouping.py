"""What grouping and splitting cost: `python -m benchmarks.grouping [--images N ...]`.

Rows of synthetic images, without any pixels, go through the transforms of prepare: one image in several files,
near-duplicates, groups, splits. Each size runs in a process of its own; its time and peak memory are printed.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import apache_beam as beam
import numpy as np

from pipelines.common.seeding import stable_hash
from pipelines.curation.deduplicate import DeduplicateImages
from pipelines.curation.fractions import Fractions
from pipelines.curation.groups import AssignGroups, FindNear
from pipelines.curation.split import SplitGroups
from pipelines.dataset.image_row import ImageRow, Thumbnail, is_open
from pipelines.domain.dataset_json import SPLITS
from pipelines.domain.labels import Claim
from pipelines.domain.taxonomy import built_in_set
from pipelines.imaging import perceptual
from pipelines.storage.packs import Piece

# Shares as in HAM10000 (several photographs of a lesion) and as in archives downloaded twice.
IMAGES_PER_LESION = 3
DUPLICATE_EVERY = 20
NEAR_EVERY = 30
PER_CHUNK = 1000
CLASSES = built_in_set("isic9").classes


def synthetic_thumbnail(shown: int) -> bytes:
    """The thumbnail of picture `shown`."""
    return np.random.Generator(np.random.PCG64(shown)).bytes(perceptual.THUMBNAIL_SIDE**2 * 3)


def _load(thumbnails: list[Thumbnail]) -> list[bytes]:
    return [synthetic_thumbnail(int(thumbnail.pack)) for thumbnail in thumbnails]


def synthetic_row(number: int) -> ImageRow:
    """The row of image `number`; some share bytes with the one before, some show nearly the same picture."""
    content = number - 1 if number % DUPLICATE_EVERY == 1 else number
    shown = content - 1 if content % NEAR_EVERY == 1 else content
    lesion = content // IMAGES_PER_LESION
    label = CLASSES[stable_hash(lesion) % len(CLASSES)]
    name = f"ISIC_{content:07d}.jpg" if content == number else f"ISIC_{content:07d}(1).jpg"
    return ImageRow(
        path=f"/archive/{name}",
        relative=name,
        image_id=f"ISIC_{content:07d}",
        claims=(Claim("folder", (label,), (label,)),),
        sha256=f"{stable_hash(content):064x}",
        format="jpeg",
        width=600,
        height=450,
        phash=stable_hash("picture", shown) >> 1,
        sketch=perceptual.sketch(synthetic_thumbnail(shown)),
        thumbnail=Thumbnail(f"{shown}", Piece(0, 0, 0)),
        lesion_ids=(f"IL_{lesion:07d}",) if lesion % 4 else (),
        patient_ids=(f"IP_{lesion // 2:07d}",),
    )


def _rows(start: int, images: int) -> Iterator[ImageRow]:
    return map(synthetic_row, range(start, min(start + PER_CHUNK, images)))


_found: dict[str, int] = {}


def _keep(counts: dict[str, int]) -> None:
    _found.update(counts)


def measure(images: int) -> None:
    """One run in this process; prints its line of the table."""
    started = time.monotonic()
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        rows = (
            pipeline
            | beam.Create(list(range(0, images, PER_CHUNK)))
            | "Rows" >> beam.FlatMap(_rows, images)
            | "Images" >> DeduplicateImages()
        )
        near = rows | "Near-duplicates" >> FindNear(_load)
        split = (
            (near.rows | "Distinct" >> beam.Filter(is_open), near.pairs, rows)
            | "Group" >> AssignGroups()
            | "Split" >> SplitGroups(Fractions(0.8, 0.1, 0.1), seed=0)
        )
        counts = split | "Split of" >> beam.Map(lambda row: row.split) | "Count" >> beam.combiners.Count.PerElement()
        _ = counts | "Counts" >> beam.combiners.ToDict() | "Keep counts" >> beam.Map(_keep)
        _ = near.counts | "Keep pairs" >> beam.Map(_keep)
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    distinct = sum(_found[split] for split in SPLITS)
    print(
        f"| {images:,} | {distinct:,} | {_found['pairs']:,} | {seconds:.0f} "
        f"| {base / 2**20:.2f} | {peak / 2**20:.2f} |",
        flush=True,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[100_000, 300_000])
    print("| files | distinct images | near-duplicate pairs | seconds | memory at start, GiB | peak, GiB |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for images in parser.parse_args(argv).images:
        # A process each, so that each has a peak of its own.
        code = f"from benchmarks import grouping; grouping.measure({images})"
        subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":
    main()
