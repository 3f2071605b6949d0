"""Plan the number of shards from counts, before any shard is written."""

from __future__ import annotations

from collections.abc import Mapping

import apache_beam as beam

from pipelines.beam import progress
from pipelines.curation.feasibility import refuse
from pipelines.dataset.record_spec import RecordSpec
from pipelines.domain.dataset_json import SPLITS
from pipelines.imaging.encoding import BYTES_PER_PIXEL
from pipelines.prepare.options import SHARD_MB
from pipelines.prepare.shard_writer import SplitShards

# What a record has beside its pixels: the tables of a JPEG, ids, labels and checksums.
_RECORD_BYTES = 1000


def shard_count(examples: int, spec: RecordSpec, shard_mb: int = SHARD_MB) -> int:
    """Return the number of shards for a split or fold, at least 1.

    Args:
        examples: The number of examples of the split or fold.
        spec: How images become records.
        shard_mb: The approximate size of a shard in MiB, before compression.
    """
    size = int(examples * (spec.image_size * spec.image_size * BYTES_PER_PIXEL[spec.encoding] + _RECORD_BYTES))
    return max(1, -(-size // (shard_mb << 20)))


def plan_shards(
    examples: Mapping[tuple[str, int], int], spec: RecordSpec, folds: int, shard_mb: int = SHARD_MB
) -> dict[str, SplitShards]:
    """Return the shards of each split that has examples.

    Args:
        examples: The number of examples per (split, fold).
        spec: How images become records.
        folds: The number of folds of the train split; 0 for none.
        shard_mb: The approximate size of a shard in MiB, before compression.
    """
    shards = {}
    for split in SPLITS:
        # Every fold gets as many shards as the largest one needs, so that a shard's index gives its fold.
        largest = max((count for (name, _), count in examples.items() if name == split), default=0)
        if largest:
            each = shard_count(largest, spec, shard_mb)
            shards[split] = SplitShards(each, folds if split == "train" else 0)
    return shards


class _PlanOrRefuse(beam.DoFn):
    """DoFn from example counts to {split: SplitShards}.

    If there is a problem, the pipeline is refused.
    """

    def __init__(self, temporary: str, spec: RecordSpec, folds: int, shard_mb: int):
        self._temporary = temporary
        self._arguments = (spec, folds, shard_mb)

    def process(self, problem: str, examples: Mapping[tuple[str, int], int]) -> list[dict[str, SplitShards]]:
        if problem:
            refuse(problem, self._temporary)
        progress.count("planned", sum(examples.values()))
        return [plan_shards(examples, *self._arguments)]


class PlanShards(beam.PTransform):
    """PTransform that plans the shards of every split, or stops the pipeline if the images cannot be split as asked.

    Args:
        temporary: The output's temporary folder.
        spec: How images become records.
        folds: The number of folds of the train split; 0 for none.
        shard_mb: The approximate size of a shard in MiB, before compression.
    """

    def __init__(self, temporary: str, spec: RecordSpec, folds: int, shard_mb: int):
        super().__init__()
        self._decide = _PlanOrRefuse(temporary, spec, folds, shard_mb)

    def expand(self, inputs: tuple[beam.PCollection, ...]) -> beam.PCollection[dict[str, SplitShards]]:
        """Turn rows into one {split: SplitShards}.

        Args:
            inputs: PCollections of rows with split, fold and copies; the last one is the one line of FindProblem.
        """
        *parts, problem = inputs
        counts = [
            part
            | f"Copies {number}" >> beam.Map(lambda row: ((row.split, row.fold), row.copies))
            | f"Count {number}" >> beam.CombinePerKey(sum)
            for number, part in enumerate(parts)
        ]
        examples = counts | "All counts" >> beam.Flatten() | "Count examples" >> beam.CombinePerKey(sum)
        return problem | "Decide" >> beam.ParDo(self._decide, beam.pvalue.AsDict(examples))
