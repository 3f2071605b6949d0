"""Check the two graphs of a dataset: both load, and make of one record what prepare makes of it."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipelines.common.cli import CheckFailed, first_line
from pipelines.dataset.example_proto import parse_example
from pipelines.dataset.finished import Dataset
from pipelines.dataset.tfrecord import open_shard, read_records
from pipelines.imaging import images
from pipelines.imaging.encoding import decode, encode, encode_png
from pipelines.imaging.tensorflow_runtime import start_tensorflow
from pipelines.storage import filesystem

STANDARDIZE, TRANSFORM = "standardize_fn", "transform_fn"
_COUNTS = f"{TRANSFORM}/assets/class_counts"
# Of normalised pixels, whose deviation is 1. The graph computes in float32.
_TOLERANCE = 1e-4


class _Record(NamedTuple):
    pixels: np.ndarray  # uint8 [size, size, 3]
    encoded: bytes
    class_name: str


class Statistics(NamedTuple):
    """The sums of the train originals by which a dataset's pixels are normalised."""

    originals: int
    sums: Sequence[int]  # three channel sums, then three sums of squares

    def plus(self, originals: int, sums: Sequence[int]) -> Statistics:
        """Return these together with others."""
        return Statistics(self.originals + originals, [sum(pair) for pair in zip(self.sums, sums, strict=True)])


def _first_record(dataset: Dataset) -> _Record:
    description = dataset.description
    shard = next(shard for shard in description.shards if shard.examples)
    with open_shard(filesystem.join(dataset.folder, shard.name), description.compression) as opened:
        _, data = next(read_records(opened.records))
    features = parse_example(data)
    encoded, name = (features[key].bytes_list.value[0] for key in ("image/encoded", "image/class/text"))
    side = description.image_size
    return _Record(decode(encoded, description.encoding, side, side), encoded, name.decode())


@contextlib.contextmanager
def _local(dataset: Dataset, graph: str) -> Iterator[str]:
    """Give a folder on this machine with the files of a graph."""
    if filesystem.is_local(dataset.folder):
        yield filesystem.join(dataset.folder, graph)
        return
    with tempfile.TemporaryDirectory() as copy:
        for name in (name for name in dataset.names if name.startswith(f"{graph}/")):
            path = Path(copy, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(dataset.read(name))
        yield f"{copy}/{graph}"


@contextlib.contextmanager
def _loaded(dataset: Dataset, graph: str) -> Iterator[Any]:
    """Load a graph; whatever it or TensorFlow raises is a failed check."""
    import tensorflow as tf

    try:
        with _local(dataset, graph) as folder:
            yield tf.saved_model.load(folder)
    except CheckFailed:
        raise
    except Exception as error:  # TensorFlow raises many kinds of errors on damaged files
        raise CheckFailed(f"{graph}: cannot be used: {first_line(error)}") from error


def _check_standardize(dataset: Dataset, record: _Record) -> None:
    """Check that the graph makes of an image file what prepare makes of it: of the record, in other proportions."""
    description = dataset.description
    file = encode_png(record.pixels.repeat(2, axis=0).repeat(3, axis=1))
    side, form = description.image_size, description.encoding
    made = encode(images.standardize(file, side, description.aspect), form)
    with _loaded(dataset, STANDARDIZE) as graph:
        found = graph.standardize(file).numpy()
        if not np.array_equal(decode(found, form, side, side), decode(made, form, side, side)):
            raise CheckFailed(f"{STANDARDIZE}: makes other pixels of an image than prepare does")


def _check_transform(dataset: Dataset, record: _Record, statistics: Statistics) -> None:
    """Check label and normalised pixels of the record, and the classes counted."""
    description = dataset.description
    with _loaded(dataset, TRANSFORM) as graph:
        import tensorflow as tf

        found = graph.transform_fn(
            {
                "image/encoded": tf.constant([record.encoded]),
                "image/class/text": tf.constant([record.class_name]),
                "image/statistics": tf.zeros([1, 7], tf.int64),
            }
        )
        label, image = int(found["label"].numpy()[0]), found["image"].numpy()[0]
    if label != description.classes.index(record.class_name):
        raise CheckFailed(f"{TRANSFORM}: gives {record.class_name!r} the label {label}, dataset.json another")
    train = description.splits["train"]
    # An update does not know corrected images again.
    if statistics.originals == train.originals:
        sums = np.array(statistics.sums, np.float64) / (train.originals * description.image_size**2)
        deviation = np.maximum(np.sqrt(np.maximum(sums[3:] - sums[:3] ** 2, 0)), 1)
        if not np.allclose(image, (record.pixels - sums[:3]) / deviation, rtol=0, atol=_TOLERANCE):
            raise CheckFailed(f"{TRANSFORM}: does not normalise by the mean and deviation of the train originals")
    counted = {name: count for name, (count, _) in train.per_class.items() if count}
    if _class_counts(dataset.read(_COUNTS)) != counted:
        raise CheckFailed(f"{_COUNTS}: is not what dataset.json says of the train originals")


def _class_counts(content: bytes) -> dict[str, int]:
    lines = (line.partition(" ") for line in content.decode("utf-8", "replace").splitlines())
    return {name: int(count) for count, _, name in lines if count.isdigit()}


def check_graphs(dataset: Dataset, statistics: Statistics) -> None:
    """Check standardize_fn and transform_fn.

    Args:
        dataset: The dataset, whose records have been checked.
        statistics: Of those train originals that an update would know again.

    Raises:
        CheckFailed: A graph cannot be used, or gives something else than prepare.
    """
    start_tensorflow()
    record = _first_record(dataset)
    _check_standardize(dataset, record)
    _check_transform(dataset, record, statistics)


def _ignore_interrupts() -> None:
    """Ignore SIGINT, which a terminal sends to every process: the parent process ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def check_graphs_apart(dataset: Dataset, statistics: Statistics) -> None:
    """Check the graphs in a process of their own, which a damaged one may take with it; see `check_graphs`."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _ignore_interrupts) as pool:
        try:
            pool.submit(check_graphs, dataset, statistics).result()
        except BrokenProcessPool as error:
            raise CheckFailed(f"{STANDARDIZE} or {TRANSFORM}: TensorFlow broke off when it was read") from error
