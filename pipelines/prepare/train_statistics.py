"""Add up the statistics of the train originals, and have tf.Transform make its graph of them."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import apache_beam as beam

from pipelines.dataset.record_spec import RecordSpec
from pipelines.imaging.tensorflow_runtime import start_tensorflow

# Three channel sums and three sums of squares.
_NOTHING = (0,) * 6


class ClassStatistics(NamedTuple):
    """What is known of the train originals of one class."""

    originals: int
    sums: tuple[int, ...]  # three channel sums, then three sums of squares; see `images.channel_sums`


class _AddUp(beam.CombineFn):
    """Channel sums of originals -> ClassStatistics. Whole numbers, so that the order of addition does not matter."""

    def create_accumulator(self) -> ClassStatistics:
        return ClassStatistics(0, _NOTHING)

    def add_input(self, total: ClassStatistics, sums: tuple[int, ...]) -> ClassStatistics:
        return ClassStatistics(total.originals + 1, tuple(map(sum, zip(total.sums, sums, strict=True))))

    def merge_accumulators(self, totals: Iterable[ClassStatistics]) -> ClassStatistics:
        totals = list(totals)
        sums = tuple(map(sum, zip(*(total.sums for total in totals), strict=True)))
        return ClassStatistics(sum(total.originals for total in totals), sums)

    def extract_output(self, total: ClassStatistics) -> ClassStatistics:
        return total


def load_graph_modules() -> None:
    """Load TensorFlow and tf.Transform, which takes seconds; a second call costs nothing."""
    start_tensorflow()
    importlib.import_module("pipelines.prepare.tft_analysis")


class _WriteTransformFn(beam.DoFn):
    """DoFn that writes the graph once the statistics of all classes are known."""

    def __init__(self, folder: str, spec: RecordSpec):
        self._arguments = (folder, spec)

    def process(self, _: None, statistics: Mapping[str, ClassStatistics]) -> Iterator[None]:
        load_graph_modules()
        from pipelines.prepare.tft_analysis import write_transform_fn

        # In a thread of its own: a pipeline within a pipeline must not touch what Beam keeps for the thread it runs in.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(write_transform_fn, statistics, *self._arguments).result()
        yield None


class AnalyzeTrain(beam.PTransform):
    """PTransform that writes transform_fn/ and transformed_metadata/.

    Args:
        folder: The folder to write them to.
        spec: How images become records.
    """

    def __init__(self, folder: str, spec: RecordSpec):
        super().__init__()
        self._write = _WriteTransformFn(folder, spec)

    def expand(self, sums: beam.PCollection[tuple[str, tuple[int, ...]]]) -> beam.PCollection[None]:
        """Turn (class, channel sums) of the train originals into one element, once both are written."""
        statistics = sums | "Statistics" >> beam.CombinePerKey(_AddUp())
        return (
            sums.pipeline
            | "Once" >> beam.Create([None], reshuffle=False)
            | "Write graph" >> beam.ParDo(self._write, beam.pvalue.AsDict(statistics))
        )
