"""What an archive's size costs a job, apart from its pictures: `python -m benchmarks.scale [JOB ...] [--images N ...]`.

The job itself runs, on the in-process runner, over a filesystem without files (`benchmarks.synthetic_archive`). What is
left is graph, listing, keys, rows, shuffles and tables. Each runs in a process of its own; its time and peak memory are
printed, and what memory grows by, for each image.

score    with a SavedModel that looks at no picture: a night on which all is new, and one on which all is known.
prepare  pictures of 8 pixels, no two alike, and a table with a class and a lesion for each.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import datetime
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam
import numpy as np

from benchmarks.synthetic_archive import archive_of, image_id
from pipelines.beam.arguments import BeamArguments
from pipelines.domain.decision_rule import EIGHT_VIEWS, ONE_VIEW
from pipelines.domain.model_files import seal_model
from pipelines.domain.model_info import SCHEMA_VERSION
from pipelines.imaging.tensorflow_runtime import start_tensorflow
from pipelines.prepare import command as prepare_command
from pipelines.prepare import options as prepare_options
from pipelines.prepare import pipeline as prepare_pipeline
from pipelines.score import command as score_command
from pipelines.score import options as score_options
from pipelines.score import pipeline as score_pipeline
from pipelines.score.job import plan_run
from pipelines.sources.list_files import list_files
from pipelines.storage.attempt import Attempt

CLASSES = ("melanoma", "nevus", "basal cell carcinoma")


def export_blind(folder: Path) -> None:
    """A model with the signatures that the job uses, which gives each record probabilities by its length."""
    import tensorflow as tf

    class Blind(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = [tf.Variable(np.arange(len(CLASSES), dtype=np.float32))]

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def normalise(self, image_encoded: tf.Tensor) -> dict[str, tf.Tensor]:
            length = tf.cast(tf.strings.length(image_encoded), tf.float32)
            return {"image": tf.zeros((1, 16, 16, 3)) + tf.reshape(length, (-1, 1, 1, 1))}

        @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 3], tf.float32)])
        def classify(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probabilities": tf.nn.softmax(tf.reduce_mean(image, (1, 2)) + self.weights[0])}

    module = Blind()
    names = ("normalise", "classify")
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
        "split": "train",
        "fold": -1,
        "weights_fingerprint": "none",
        "train_class_distribution": equal,
        "metrics": {},
        "calibration": {"temperature": 1.0, "prior": equal},
        "operating_points": {ONE_VIEW: [], EIGHT_VIEWS: []},
        "network": {},
    }
    seal_model(folder, description)


def write_table(path: str, images: int) -> None:
    """Write what is known of each image: three lesions for four images, as many images for each class."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("isic_id", "lesion_id", "diagnosis"))
        for number in range(images):
            lesion = number * 3 // 4
            writer.writerow((image_id(number), f"IL_{lesion:07d}", CLASSES[lesion % len(CLASSES)]))


def _score_arguments(images: int, work: str) -> list[str]:
    output = os.path.join(work, f"scores-{images}")
    model = os.path.join(work, "model")
    return ["--input", archive_of(images), "--model", model, "--output", output, "--previous", output]


def _score_graph(images: int, work: str) -> beam.Pipeline:
    options, rest = score_options.parse_options(_score_arguments(images, work))
    arguments = BeamArguments(rest, "score")
    job = plan_run(options, arguments, datetime.datetime.now(datetime.UTC))
    pipeline = beam.Pipeline(options=arguments.options)
    score_pipeline.build(pipeline, job, Attempt(job.partition, "1"), unattended=False)
    return pipeline


def _prepare_arguments(images: int, work: str) -> list[str]:
    places = ["--metadata", os.path.join(work, "table.csv"), "--output", os.path.join(work, f"dataset-{images}")]
    pixels = ["--image_size", "8", "--balance", "none", "--classes", ",".join(CLASSES)]
    return ["--input", archive_of(images, "png"), *places, *pixels]


def _prepare_graph(images: int, work: str) -> beam.Pipeline:
    options, rest = prepare_options.parse_options(_prepare_arguments(images, work))
    # tf.Transform makes a temporary folder in the output already here, and the job wants an output that nobody used.
    options = dataclasses.replace(options, output=os.path.join(work, "graph"))
    pipeline = beam.Pipeline(options=BeamArguments(rest, "prepare").options)
    prepare_pipeline.build(pipeline, options, 1, "", Attempt(options.output, "1"), unattended=False)
    return pipeline


class Job(NamedTuple):
    """A job as it is measured here."""

    arguments: Callable[[int, str], list[str]]  # number of images, work folder
    graph: Callable[[int, str], beam.Pipeline]
    main: Callable[[Sequence[str]], None]
    runs: tuple[str, ...]  # one after the other over the same archive and output


JOBS = {
    "score": Job(_score_arguments, _score_graph, score_command.main, ("score, all new", "score, all known")),
    "prepare": Job(_prepare_arguments, _prepare_graph, prepare_command.main, ("prepare",)),
}


def graph_size(pipeline: beam.Pipeline) -> tuple[int, int]:
    """Return the transforms of a graph without composites, and its bytes as a runner gets it."""
    graph = pipeline.to_runner_api()
    return sum(not each.subtransforms for each in graph.components.transforms.values()), len(graph.SerializeToString())


def listing_seconds(archive: str) -> float:
    """What it takes to list the archive, without a job."""
    started = time.monotonic()
    for _ in list_files(archive):
        pass
    return time.monotonic() - started


class Figures(NamedTuple):
    """What one run showed; memory in KiB."""

    transforms: int
    graph_bytes: int
    listing: float  # seconds
    seconds: float
    processor: float  # seconds
    before: int  # most memory until the archive was listed
    peak: int


def measure(name: str, images: int, work: str) -> None:
    """Run a job in this process; prints its Figures as JSON, and what the job prints to stderr."""
    job = JOBS[name]
    start_tensorflow()
    transforms, size = graph_size(job.graph(images, work))
    arguments = job.arguments(images, work)
    listing = listing_seconds(arguments[1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, processor = time.monotonic(), time.process_time()
    with contextlib.redirect_stdout(sys.stderr):
        job.main(arguments)
    seconds, processor = time.monotonic() - started, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps(Figures(transforms, size, listing, seconds, processor, before, peak)))


def _in_process_of_its_own(call: str) -> str:
    """Call a function of this module and return what it prints."""
    command = [sys.executable, "-c", f"from benchmarks import scale; scale.{call}"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _report(images: int, run: str, figures: Figures, growth: str) -> None:
    cells = (
        f"{figures.transforms}",
        f"{figures.graph_bytes:,}",
        f"{figures.listing:.1f}",
        f"{figures.seconds:.0f}",
        f"{figures.processor:.0f}",
        f"{figures.before / 2**20:.2f}",
        f"{figures.peak / 2**20:.2f}",
        growth,
    )
    print(f"| {images:,} | {run} | {' | '.join(cells)} |", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"{' or '.join(JOBS)}; without it, both")
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--work", help="an existing folder for what the jobs write; otherwise one in /tmp")
    arguments = parser.parse_args(argv)
    print(
        "| images | job | transforms | graph, bytes | listing, s | job, s | processor, s | memory after listing, GiB "
        "| peak, GiB | bytes a further image |\n"
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="scale-", dir=arguments.work) as work:
        for name in arguments.jobs or JOBS:
            if name == "score":
                _in_process_of_its_own(f"export_blind(scale.Path({work!r}) / 'model')")
            # Of each run, the number of images and the peak of the size before.
            smaller: dict[str, tuple[int, int]] = {}
            for images in sorted(arguments.images):
                if name == "prepare":
                    write_table(os.path.join(work, "table.csv"), images)
                for run in JOBS[name].runs:
                    printed = _in_process_of_its_own(f"measure({name!r}, {images}, {work!r})")
                    figures = Figures(*json.loads(printed))
                    growth = ""
                    if run in smaller:
                        fewer, peak = smaller[run]
                        growth = f"{(figures.peak - peak) * 1024 / (images - fewer):,.0f}"
                    smaller[run] = images, figures.peak
                    _report(images, run, figures, growth)
                # A dataset of a million images takes a gigabyte.
                shutil.rmtree(os.path.join(work, f"dataset-{images}"), ignore_errors=True)


if __name__ == "__main__":
    main()
