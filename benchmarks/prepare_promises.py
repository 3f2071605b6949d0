"""What each promise of prepare costs: `python -m benchmarks.prepare_promises [--images DIR] [--count FEW MANY]`.

The functions that prepare calls go over the files one after the other, in one thread, and the processor time of each is
taken. What compares images with each other runs as in prepare, as transforms on the in-process runner, over the rows of
these files. Shares are of the processor time that the whole command takes for each image beyond the first FEW.
"""

from __future__ import annotations

import argparse
import csv
import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import apache_beam as beam
import numpy as np
from PIL import Image

from benchmarks.prepare import OURS, Bench
from benchmarks.prepare_inputs import CLASSES, Archive, Archives
from benchmarks.prepare_rivals import SIZE
from pipelines.common.seeding import stable_hash
from pipelines.curation.deduplicate import DeduplicateImages
from pipelines.curation.groups import AssignGroups, FindNear, load_thumbnails
from pipelines.dataset.image_row import WRITTEN, ImageRow, Stored, Thumbnail, is_open
from pipelines.dataset.manifest import by_path, manifest_bytes
from pipelines.dataset.record_spec import RecordSpec
from pipelines.dataset.tfrecord import frame
from pipelines.domain.labels import Claim
from pipelines.imaging import images, perceptual
from pipelines.prepare.examples import image_example
from pipelines.storage.packs import Packed, PackWriter

SPEC = RecordSpec(CLASSES, SIZE, "stretch")
# Whatever makes such records does this.
ANYONE = ("read", "decode", "resize", "encode", "Example and checksums")
PROMISES = {
    "content hash": "the bytes that were checked are those that are written; copies are known",
    "perceptual hash, thumbnail": "near-duplicates do not cross splits",
    "channel sums": "exact statistics of the training images",
    "compare images, group": "no image, lesion or near-duplicate in two splits",
    "order of the records": "the same bytes each time",
    "sorted manifest": "nothing lost",
}
_PER_CHUNK = 500
_PACKS = tempfile.TemporaryDirectory(prefix="packs-")
Result = TypeVar("Result")


class Clock:
    """Adds up the processor time of calls by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def __call__(self, name: str, function: Callable[[], Result]) -> Result:
        started = time.process_time()
        result = function()
        self.seconds[name] += time.process_time() - started
        return result


def _decode(data: bytes) -> Image.Image:
    info = images.read_info(data)
    return images.decode_image(data, images.reduction(info.width, info.height, SPEC.image_size, SPEC.aspect))


def _go_over(clock: Clock, row: ImageRow) -> tuple[ImageRow, tuple[int, bytes]]:
    """Do with one file what prepare does with it alone.

    Returns:
        Its row, and its record with the key that sorts it.
    """
    data = clock("read", lambda: Path(row.path).read_bytes())
    sha256 = clock("content hash", lambda: hashlib.sha256(data).hexdigest())
    image = clock("decode", lambda: _decode(data))
    phash, thumbnail = clock("perceptual hash, thumbnail", lambda: perceptual.signature(perceptual.square_of(image)))
    square = clock("resize", lambda: images.fit(image, SPEC.image_size, SPEC.aspect))
    sums, squares = clock("channel sums", lambda: images.channel_sums(square))
    encoded = clock("encode", lambda: images.encode_jpeg(np.asarray(square)))
    row = row._replace(sha256=sha256, phash=phash, format="jpeg", width=image.width, height=image.height)
    (packed,) = _packed(row, [thumbnail, encoded])
    sketch = clock("perceptual hash, thumbnail", lambda: perceptual.sketch(thumbnail))
    row = row._replace(
        sketch=sketch,
        thumbnail=Thumbnail(packed.pack, packed.pieces[0]),
        stored=Stored(packed.pack, packed.pieces[1:], (*sums, *squares)),
    )
    record = clock("Example and checksums", lambda: frame(image_example(row, encoded, 0, SPEC)))
    return row, (clock("order of the records", lambda: stable_hash(SPEC.seed, "order", sha256, 0)), record)


def _packed(row: ImageRow, contents: Sequence[bytes]) -> list[Packed[ImageRow]]:
    writer: PackWriter[ImageRow] = PackWriter(_PACKS.name)
    return [*writer.add(row, 0, contents), *writer.flush()]


def _rows_of(archive: Archive) -> list[ImageRow]:
    """The rows of all files as the table describes them."""
    paths = {path.stem: path for path in archive.images.iterdir()}
    rows = []
    with archive.table.open(newline="") as file:
        for line in csv.DictReader(file):
            path, label = paths[line["isic_id"]], line["diagnosis"]
            claim = Claim("table", (label,), (label,))
            lesion = (line["lesion_id"],)
            rows.append(
                ImageRow(str(path), path.name, image_id=path.stem, claims=(claim,), label=label, lesion_ids=lesion)
            )
    return rows


# What the pipeline below reads: in its own process, and so not in its graph.
_rows: list[ImageRow] = []


def _chunk(start: int) -> list[ImageRow]:
    return _rows[start : start + _PER_CHUNK]


def _compare_images(count: int) -> float:
    """Send the first rows through the transforms of prepare that compare images; return the processor seconds."""
    started = time.process_time()
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        rows = (
            pipeline
            | beam.Create(list(range(0, count, _PER_CHUNK)))
            | "Rows" >> beam.FlatMap(_chunk)
            | "Images" >> DeduplicateImages()
        )
        near = rows | "Near-duplicates" >> FindNear(functools.partial(load_thumbnails, _PACKS.name))
        _ = (rows | "Distinct" >> beam.Filter(is_open), near.pairs, rows) | "Group" >> AssignGroups()
    return time.process_time() - started


def measure(archive: Archive) -> None:
    """Print the processor milliseconds an image of each step, as JSON; in a process that does nothing else."""
    clock = Clock()
    described = _rows_of(archive)
    # What is loaded on first use is no image's cost.
    _go_over(Clock(), described[0])
    done = [_go_over(clock, row) for row in described]
    clock("order of the records", lambda: sorted(record for _, record in done))
    _rows.extend(row._replace(label="") for row, _ in done)
    written = [row._replace(outcome=WRITTEN, copies=1) for row, _ in done]
    clock("sorted manifest", lambda: manifest_bytes(sorted(written, key=by_path)))
    costs = {name: 1000 * seconds / len(done) for name, seconds in clock.seconds.items()}
    # The runner's start is no image's cost either.
    few = len(done) // 4 // _PER_CHUNK * _PER_CHUNK or len(done) // 4
    many = len(done)
    _compare_images(few)
    costs["compare images, group"] = 1000 * (_compare_images(many) - _compare_images(few)) / (many - few)
    print(json.dumps(costs))


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a folder of distinct pictures; without it they are drawn")
    parser.add_argument("--count", type=int, nargs=2, metavar=("FEW", "MANY"), default=[500, 2000])
    parser.add_argument("--work", type=Path, help="where archives are kept for the next run; otherwise they are not")
    arguments = parser.parse_args(argv)
    few, many = arguments.count
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        bench = Bench(Archives(work, arguments.images), work, Path())
        archive = bench.archives.of(many)
        archive.read()
        started, whole = (bench.run(OURS, count).cpu_seconds for count in (few, many))
        code = (
            "from pathlib import Path; from benchmarks import prepare_inputs, prepare_promises; "
            f"prepare_promises.measure(prepare_inputs.Archive(Path({str(archive.images)!r}), "
            f"Path({str(archive.table)!r}), {many}))"
        )
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, env=quiet)
    costs = json.loads(done.stdout)
    image = 1000 * (whole - started) / (many - few)
    print("| | cpu, ms/image | share | kept by it |\n| --- | ---: | ---: | --- |")
    for name in (*ANYONE, *PROMISES):
        print(f"| {name} | {costs[name]:.3f} | {costs[name] / image:.1%} | {PROMISES.get(name, '')} |")
    rest = image - sum(costs.values())
    print(f"| rows through Beam, and the rest | {rest:.3f} | {rest / image:.1%} | |")
    print(f"| `pipelines.prepare`, a further image | {image:.3f} | | |")


if __name__ == "__main__":
    main()
