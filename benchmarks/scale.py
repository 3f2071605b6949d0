"""What an archive's size costs the score job, apart from its pictures: `python -m benchmarks.scale [--images N ...]`.

The job itself runs, on the in-process runner, over a filesystem without files: `synthetic://N/` lists N paths and gives
each the bytes of one of a few small JPEG files. The model is a SavedModel that looks at no picture. What is left is
graph, listing, keys, shuffles and tables. Two nights: one on which all is new, one on which all is known. Each runs in
a process of its own; its time and peak memory are printed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystem import FileMetadata, FileSystem

from pipelines.beam.progress import Progress
from pipelines.beam.runner import beam_options
from pipelines.domain.decision_rule import EIGHT_VIEWS, ONE_VIEW
from pipelines.domain.model_info import MODEL_JSON, SCHEMA_VERSION, model_fingerprint
from pipelines.imaging.images import encode_jpeg
from pipelines.imaging.tensorflow_runtime import start_tensorflow
from pipelines.score import pipeline as score_pipeline
from pipelines.score.job import plan_run
from pipelines.score.options import parse_options
from pipelines.sources.list_files import list_files

SCHEME = "synthetic"
CLASSES = ("melanoma", "nevus", "basal cell carcinoma")
PICTURES = [encode_jpeg(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)) for seed in range(8)]


def archive_of(images: int) -> str:
    """The input that holds this many images."""
    return f"{SCHEME}://{images}"


def path_of(images: int, number: int) -> str:
    """An image's path, as long as those of real archives."""
    return f"{archive_of(images)}/images/ISIC_{number:07d}.jpg"


def _picture(path: str) -> bytes:
    return PICTURES[int(path[-11:-4]) % len(PICTURES)]


class SyntheticFileSystem(FileSystem):
    """Lists and reads; nothing is stored. A Beam filesystem is found by its scheme among the subclasses."""

    @classmethod
    def scheme(cls) -> str:
        return SCHEME

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join((basepath.rstrip("/"), *paths))

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        images = int(dir_or_prefix.removeprefix(f"{SCHEME}://").partition("/")[0])
        return (self.metadata(path_of(images, number)) for number in range(images))

    def exists(self, path: str) -> bool:
        # Whatever is asked for beside the images (descriptions, markers) is not there.
        return path.endswith(".jpg")

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, len(_picture(path)), 1.0)

    def open(self, path: str, mime_type: str = "", compression_type: str = "") -> io.BytesIO:
        return io.BytesIO(_picture(path))

    def size(self, path: str) -> int:
        return self.metadata(path).size_in_bytes

    def last_updated(self, path: str) -> float:
        return self.metadata(path).last_updated_in_seconds

    def checksum(self, path: str) -> None:
        return None

    def _refuse(self, *arguments: Any, **options: Any) -> NoReturn:
        raise OSError(f"{SCHEME}:// cannot be written")

    mkdirs = create = copy = rename = delete = _refuse


def export_blind(folder: Path) -> None:
    """A model with the signatures of an exported one that gives each file probabilities by its length."""
    import tensorflow as tf

    class Blind(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = [tf.Variable(np.arange(len(CLASSES), dtype=np.float32))]

        def _probabilities(self, files: tf.Tensor) -> dict[str, tf.Tensor]:
            length = tf.cast(tf.strings.length(files), tf.float32)[:, tf.newaxis]
            return {"probabilities": tf.nn.softmax(tf.sin(length * (1 + self.weights[0])))}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def serving_default(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            return self._probabilities(image_bytes)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def records(self, image_encoded: tf.Tensor) -> dict[str, tf.Tensor]:
            return self._probabilities(image_encoded)

        @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
        def standardize(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"image": tf.zeros((16, 16, 3)) + tf.cast(tf.strings.length(image_bytes), tf.float32)}

        @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 3], tf.float32)])
        def classify(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probabilities": tf.nn.softmax(tf.reduce_mean(image, (1, 2)) + self.weights[0])}

    module = Blind()
    names = ("serving_default", "records", "standardize", "classify")
    tf.saved_model.save(module, str(folder), signatures={name: getattr(module, name) for name in names})
    equal = dict.fromkeys(CLASSES, 1 / len(CLASSES))
    description = {
        "schema_version": SCHEMA_VERSION,
        "classes": CLASSES,
        "malignant_classes": ["melanoma", "basal cell carcinoma"],
        "image_size": 16,
        "aspect": "crop",
        "encoding": "jpeg",
        "dataset_fingerprint": "none",
        "fold": -1,
        "model_fingerprint": model_fingerprint([weight.numpy() for weight in module.weights], {}, "none"),
        "train_class_distribution": equal,
        "metrics": {},
        "calibration": {"temperature": 1.0, "prior": equal},
        "operating_points": {ONE_VIEW: [], EIGHT_VIEWS: []},
        "network": {},
    }
    (folder / MODEL_JSON).write_text(json.dumps(description))


def _arguments(images: int, work: str) -> list[str]:
    output = os.path.join(work, f"scores-{images}")
    model = os.path.join(work, "model")
    return ["--input", archive_of(images), "--model", model, "--output", output, "--previous", output]


def graph_size(images: int, work: str) -> tuple[int, int]:
    """Transforms of the job's graph without composites, and its bytes as a runner gets it."""
    options, rest = parse_options(_arguments(images, work))
    arguments = beam_options(rest)
    job = plan_run(options, arguments, datetime.datetime.now(datetime.UTC))
    pipeline = beam.Pipeline(options=arguments)
    score_pipeline.build(pipeline, job, Progress())
    graph = pipeline.to_runner_api()
    return sum(not each.subtransforms for each in graph.components.transforms.values()), len(graph.SerializeToString())


def listing_seconds(images: int) -> float:
    """What it takes to list the archive, without a job."""
    started = time.monotonic()
    for _ in list_files(archive_of(images)):
        pass
    return time.monotonic() - started


def measure(images: int, work: str, night: str) -> None:
    """One run in this process; prints its line of the table."""
    start_tensorflow()
    transforms, size = graph_size(images, work)
    listing = listing_seconds(images)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, processor = time.monotonic(), time.process_time()
    with contextlib.redirect_stdout(sys.stderr):
        score_pipeline.main(_arguments(images, work))
    seconds, processor = time.monotonic() - started, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"| {images:,} | {night} | {transforms} | {size:,} | {listing:.1f} | {seconds:.0f} | {processor:.0f} "
        f"| {base / 2**20:.2f} | {peak / 2**20:.2f} |",
        flush=True,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000])
    arguments = parser.parse_args(argv)
    print(
        "| images | night | transforms | graph, bytes | listing, s | job, s | processor, s | memory after listing, GiB "
        "| peak, GiB |\n| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="scale-") as work:
        code = f"from pathlib import Path; from benchmarks import scale; scale.export_blind(Path({work!r}) / 'model')"
        subprocess.run([sys.executable, "-c", code], check=True)
        for images in arguments.images:
            for night in ("all new", "all known"):
                # A process each, so that each has a peak of its own.
                code = f"from benchmarks import scale; scale.measure({images}, {work!r}, {night!r})"
                subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":
    main()
