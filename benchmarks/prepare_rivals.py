"""Other ways to turn a folder into TFRecords, each as a command of its own: what `benchmarks.prepare` times.

`python -m benchmarks.prepare_rivals NAME IMAGES OUTPUT`

loop         what one writes for a machine of two cores: two processes, each with half of the files and one shard.
beam         a Beam pipeline as public scripts have it: a Map for each step of an image, then WriteToTFRecord.
img2dataset  the tool, on file:// URLs. It cannot stretch: the centre is cropped. It has its own filter (area), and its
             JPEG is 4:2:0.

The first two, and `benchmarks.tfds_lesions`, make the same squares: decoded by Pillow at a reduced size, stretched by
its antialiased bilinear filter, encoded with quality 95 and without chroma subsampling. None of them checks, labels,
groups, splits or sorts, or says what became of a file.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import tensorflow as tf

SIZE = 192
PROCESSES = 2
# Of img2dataset: images of a shard, which one process writes.
_SHARD = 1000


def paths_of(images: str) -> list[str]:
    """The files of a folder, in order."""
    return sorted(str(path) for path in Path(images).iterdir())


def square_jpeg(data: bytes) -> bytes:
    """Decode, resize, encode."""
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (SIZE, SIZE))
    square = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    square.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _write_shard(shard: str, paths: Sequence[str]) -> None:
    import google_crc32c

    # tf.train.Example, but TensorFlow, which takes seconds to load, is left out.
    from pipelines.dataset.example_proto import Example

    def masked_crc(data: bytes) -> bytes:
        crc = google_crc32c.value(data)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    with open(shard, "wb") as file:
        for path in paths:
            data = Path(path).read_bytes()
            example = Example()
            feature = example.features.feature
            feature["image/encoded"].bytes_list.value.append(square_jpeg(data))
            feature["image/key/sha256"].bytes_list.value.append(hashlib.sha256(data).hexdigest().encode())
            feature["image/source_id"].bytes_list.value.append(Path(path).stem.encode())
            record = example.SerializeToString()
            length = struct.pack("<Q", len(record))
            file.write(b"".join((length, masked_crc(length), record, masked_crc(record))))


def loop(images: str, output: str) -> None:
    """Two processes, half of the files each."""
    paths = paths_of(images)
    shards = [(f"{output}/train-{index}.tfrecord", paths[index::PROCESSES]) for index in range(PROCESSES)]
    with multiprocessing.Pool(PROCESSES) as pool:
        pool.starmap(_write_shard, shards)


def _read(path: str) -> tuple[str, bytes]:
    from apache_beam.io.filesystems import FileSystems

    with FileSystems.open(path) as file:
        return path, file.read()


def _to_square(path: str, data: bytes) -> tuple[str, str, bytes]:
    return path, hashlib.sha256(data).hexdigest(), square_jpeg(data)


def _to_example(path: str, sha256: str, encoded: bytes) -> tf.train.Example:
    import tensorflow as tf

    def feature(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    features = {
        "image/encoded": feature(encoded),
        "image/key/sha256": feature(sha256.encode()),
        "image/source_id": feature(Path(path).stem.encode()),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def beam_maps(images: str, output: str) -> None:
    """Create, Map, Map, Map, WriteToTFRecord, on the in-process runner."""
    import apache_beam as beam

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = (
            pipeline
            | beam.Create(paths_of(images))
            | "Read" >> beam.Map(_read)
            | "Resize" >> beam.MapTuple(_to_square)
            | "Example" >> beam.MapTuple(_to_example)
            | beam.io.WriteToTFRecord(f"{output}/train", file_name_suffix=".tfrecord")
        )


def img2dataset(images: str, output: str) -> None:
    """The tool with as many processes and the same quality, and the hash that it computes by default."""
    import img2dataset

    paths = paths_of(images)
    urls = Path(output) / "urls.txt"
    urls.write_text("".join(f"{Path(path).as_uri()}\n" for path in paths))
    img2dataset.download(
        url_list=str(urls),
        output_folder=f"{output}/records",
        output_format="tfrecord",
        image_size=SIZE,
        resize_mode="center_crop",
        encode_quality=95,
        compute_hash="sha256",
        processes_count=PROCESSES,
        thread_count=PROCESSES,
        number_sample_per_shard=min(_SHARD, -(-len(paths) // PROCESSES)),
    )


RIVALS = {"loop": loop, "beam": beam_maps, "img2dataset": img2dataset}


if __name__ == "__main__":
    RIVALS[sys.argv[1]](*sys.argv[2:])
