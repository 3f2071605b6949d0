"""How many shards, decided from counts before any is written."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import apache_beam as beam

from pipelines import storage
from pipelines.encoding import BYTES_PER_PIXEL
from pipelines.rows import SPLITS
from pipelines.write import SplitShards

# MiB. A shard is held in memory while it is sorted, and is the unit of parallel work.
SHARD_MB = 16

PROBLEM_FILE = "problem.txt"


class InfeasibleError(Exception):
    """The images cannot be split as asked. Stops the pipeline; the command turns it into a usage error."""


def quiet_infeasible() -> None:
    """Keep Beam from logging InfeasibleError with a traceback: the command reports it in one line."""

    def wanted(record: logging.LogRecord) -> bool:
        raised = record.exc_info[1] if record.exc_info else None
        return not isinstance(raised, InfeasibleError) and InfeasibleError.__name__ not in record.getMessage()

    for handler_owner in ("apache_beam.runners.common", "apache_beam.runners.portability.local_job_service"):
        logging.getLogger(handler_owner).addFilter(wanted)


def shard_count(examples: int, image_size: int, encoding: str = "jpeg", shard_mb: int = SHARD_MB) -> int:
    """Shards for a split or fold: about `shard_mb` MiB each before any compression, at least one."""
    return max(1, -(-int(examples * image_size * image_size * BYTES_PER_PIXEL[encoding]) // (shard_mb << 20)))


def plan_shards(
    examples: Mapping[tuple[str, int], int],
    folds: int,
    image_size: int,
    encoding: str = "jpeg",
    shard_mb: int = SHARD_MB,
) -> dict[str, SplitShards]:
    """The shards of each split that has examples. examples: how many per (split, fold)."""
    shards = {}
    for split in SPLITS:
        # Every fold has as many shards as the largest needs, so that a shard's number tells its fold.
        largest = max((count for (name, _), count in examples.items() if name == split), default=0)
        if largest:
            each = shard_count(largest, image_size, encoding, shard_mb)
            shards[split] = SplitShards(each, folds if split == "train" else 0)
    return shards


class _Decide(beam.DoFn):
    """Counts -> {split: SplitShards}; raises InfeasibleError, after leaving the reason where the command finds it."""

    def __init__(self, temporary: str, folds: int, image_size: int, encoding: str, shard_mb: int):
        self._temporary = temporary
        self._arguments = (folds, image_size, encoding, shard_mb)

    def process(self, problem: str, examples: Mapping[tuple[str, int], int]) -> list[dict[str, SplitShards]]:
        if problem:
            storage.write_bytes(storage.join(self._temporary, PROBLEM_FILE), problem.encode())
            raise InfeasibleError(problem)
        return [plan_shards(examples, *self._arguments)]


class PlanShards(beam.PTransform):
    """Rows with split, fold and copies, and the one line of FindProblem -> one {split: SplitShards}."""

    def __init__(self, folds: int, image_size: int, temporary: str, encoding: str = "jpeg", shard_mb: int = SHARD_MB):
        super().__init__()
        self._decide = _Decide(temporary, folds, image_size, encoding, shard_mb)

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection[dict[str, SplitShards]]:
        rows, problem = inputs
        examples = beam.pvalue.AsDict(
            rows
            | "Copies" >> beam.Map(lambda row: ((row.split, row.fold), row.copies))
            | "Count examples" >> beam.CombinePerKey(sum)
        )
        return problem | "Decide" >> beam.ParDo(self._decide, examples)
