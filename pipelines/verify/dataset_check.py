"""Verify that a finished dataset is what its dataset.json says, down to every record.

    dataset.json, files -> every shard, in processes -> leaks, manifest -> rejects -> sums, fingerprint
      -> what was made of it: known images, past images, TFDS metadata, cards, graphs

Everything is read once; a shard is read one MiB and one record at a time. Memory grows with the number of images, not
with their size in bytes.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, NamedTuple

from pipelines.common import console
from pipelines.common.cli import CheckFailed
from pipelines.common.text import printable
from pipelines.dataset import accounting
from pipelines.dataset import description as dataset_description
from pipelines.dataset.finished import Dataset
from pipelines.dataset.image_row import WRITTEN
from pipelines.dataset.reader import manifest_rows, reject_lines
from pipelines.dataset.record_schema import RECORD_SCHEMA, feature_kinds, parse_record_schema, record_schema
from pipelines.domain.dataset_json import DATASET_JSON, DatasetDescription, Shard
from pipelines.storage import output
from pipelines.verify.cross_check import CrossCheck
from pipelines.verify.derived_check import check_cards, check_past, check_tfds
from pipelines.verify.graph_check import Statistics, check_graphs_apart
from pipelines.verify.known_check import known_file
from pipelines.verify.shard_check import Expected, ShardFacts, verify_shard

NEEDED = (
    RECORD_SCHEMA,
    "standardize_fn/saved_model.pb",
    "transform_fn/assets/class_counts",
    "transform_fn/saved_model.pb",
    "transformed_metadata/schema.pbtxt",
)
# Shards in flight per worker: enough to keep every worker busy, few enough that their results fit in memory.
_WAITING = 2
# Bytes that justify one more process. A process takes two seconds to start, and could read twice this in that time.
_WORTH_A_PROCESS = 32 << 20


class Verified(NamedTuple):
    """How much was read of a dataset that passed every check."""

    shards: int
    bytes: int  # of all shards, as stored
    records: int
    rows: int  # of the manifest: one for each listed file


def check_files(dataset: Dataset, shards: Iterable[Shard]) -> None:
    """Check that the dataset is finished, has every file it needs, and has no shard that dataset.json does not list.

    Raises:
        CheckFailed: A file is missing or left over.
    """
    if output.is_unfinished(dataset.names):
        raise CheckFailed(f"unfinished: {output.TEMPORARY} is there; the prepare command, given again, finishes it")
    named = {shard.name for shard in shards}
    for name in sorted(named.union(NEEDED) - dataset.names):
        raise CheckFailed(f"{name} is missing")
    for name in sorted(dataset.names - named):
        if "/" not in name and ".tfrecord" in name:
            raise CheckFailed(f"{printable(name)}: lies among the shards, but {DATASET_JSON} does not name it")


def expected_records(dataset: Dataset) -> Expected:
    """Return what every record must look like.

    Raises:
        CheckFailed: schema.pbtxt is missing, damaged, or disagrees with dataset.json.
    """
    description = dataset.description
    try:
        schema = parse_record_schema(dataset.read(RECORD_SCHEMA))
    except ValueError as error:
        raise CheckFailed(f"{RECORD_SCHEMA}: is damaged ({error})") from error
    if schema != record_schema(description.document):
        raise CheckFailed(f"{RECORD_SCHEMA}: is not that of the classes, size and encoding in {DATASET_JSON}")
    return Expected(
        classes=description.classes,
        image_size=description.image_size,
        format=description.encoding,
        compression=description.compression,
        kinds=feature_kinds(schema),
    )


def _ignore_interrupts() -> None:
    """Ignore SIGINT: the terminal sends it to every process, and the parent process ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def worker_count(workers: int, shards: Sequence[Shard]) -> int:
    """Return how many processes read the shards.

    Args:
        workers: The number asked for; 0 for as many as pay off, at most one per core.
        shards: The shards to read.

    Returns:
        A number from 1 to the number of shards.
    """
    if not workers:
        worth = sum(shard.bytes for shard in shards) // _WORTH_A_PROCESS
        workers = min(len(os.sched_getaffinity(0)), worth)
    return max(1, min(workers, len(shards)))


def read_shards(
    folder: str, shards: Sequence[Shard], expected: Expected, workers: int
) -> Iterator[tuple[Shard, ShardFacts]]:
    """Verify shards in parallel, each in its own process.

    Processes rather than threads: everything except image decoding holds the GIL, so threads could not use all cores of
    a large machine.

    Args:
        folder: The folder of the dataset; local or gs://.
        shards: The shards to verify.
        expected: What every record must look like.
        workers: Number of processes; 1 reads in this process.

    Yields:
        (shard, its facts), in the order of `shards`.

    Raises:
        CheckFailed: A shard is wrong; the first one in the order of `shards`.
    """
    check = functools.partial(verify_shard, folder, expected=expected)
    if workers == 1:
        yield from ((shard, check(shard, known=known_file(shard, shards))) for shard in shards)
        return
    # The fork server imports what the workers need once. Workers forked from it inherit no threads of this process.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "pipelines.verify.compare"])
    with ProcessPoolExecutor(workers, context, _ignore_interrupts) as pool:
        coming: deque[tuple[Shard, Future]] = deque()
        try:
            for shard in shards:
                coming.append((shard, pool.submit(check, shard, known=known_file(shard, shards))))
                if len(coming) >= _WAITING * workers:
                    done, future = coming.popleft()
                    yield done, future.result()
            for done, future in coming:
                yield done, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def check_rejects(dataset: Dataset, dropped: Counter[tuple[str, str]]) -> None:
    """Check that the rejects files list exactly the files that the manifest drops, with the same reasons.

    Args:
        dataset: The dataset whose rejects files are read.
        dropped: (path, reason) -> number of rows in the manifest.

    Raises:
        CheckFailed: A line has no row in the manifest, or a dropped row has no line.
    """
    told: Counter[tuple[str, str]] = Counter()
    for where, path, reason in reject_lines(dataset):
        told[path, reason] += 1
        if told[path, reason] > dropped[path, reason]:
            raise CheckFailed(f"{where}: {path} is not dropped as {reason} in the manifest")
    for path, reason in sorted(dropped - told):
        raise CheckFailed(f"no rejects file names {path}, which the manifest drops as {reason}")


def first_difference(found: Any, expected: Any, where: str = "") -> str:
    """Return the first difference between two JSON documents.

    Args:
        found: The document as read.
        expected: The document recomputed from manifest and shards.
        where: Dotted path of both documents in the enclosing one; empty at the top.

    Returns:
        One line with the dotted path of the key and the two values; empty if the documents are equal. Keys are compared
        in alphabetical order.
    """
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        nothing = object()
        for key in sorted(found.keys() | expected.keys()):
            below = f"{where}.{key}" if where else key
            one, other = found.get(key, nothing), expected.get(key, nothing)
            if one is nothing or other is nothing:
                return f"{below} is {'missing' if one is nothing else 'there, though nothing gives it'}"
            if difference := first_difference(one, other, below):
                return difference
        return ""
    if isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected, strict=True))
        return next(filter(None, (first_difference(*pair, f"{where}.{index}") for index, pair in pairs)), "")
    if found == expected:
        return ""
    return f"{where} is {json.dumps(found)}, manifest and shards give {json.dumps(expected)}"


def check_description(description: DatasetDescription, totals: Counter) -> None:
    """Check that dataset.json matches the description recomputed from the manifest and the shards.

    Args:
        description: What dataset.json says.
        totals: Sum of `description.tally_row` over the rows of the manifest.

    Raises:
        CheckFailed: A value differs, or the sums do not agree.
    """
    document = description.document
    foreign = [name for name in description.malignant_classes if name not in description.classes]
    if foreign:
        raise CheckFailed(f"{DATASET_JSON}: malignant_classes has {foreign[0]!r}, which is no class")
    rows = sum(count for key, count in totals.items() if key[0] == "outcome")
    # The manifest has one row for each listed image. It knows neither ignored files nor near-duplicate comparisons, so
    # those are taken from dataset.json, as is what only reports show.
    listed = {
        ("listed",): rows + description.counts["ignored"],
        ("listed paths",): totals["outcome paths",],
        ("ignored",): description.counts["ignored"],
    }
    try:
        given = dataset_description.describe_dataset(
            *(listed, totals, document["near_duplicates"], document.get("frequent_lesions", ()), description.shards),
            *(description.classes, dataset_description.settings_in(document)),
        )
    except accounting.AccountingError as error:
        raise CheckFailed(f"{DATASET_JSON}: {error}") from error
    given["beside"] = document.get("beside", given["beside"])
    # This depends on the taxonomy at the time of writing; no record depends on it.
    given["malignant_classes"] = document["malignant_classes"]
    # Compare the fingerprint last: a difference in what it covers is the more useful message.
    for part in (lambda key: key != "fingerprint", lambda key: key == "fingerprint"):
        one, other = ({key: value for key, value in each.items() if part(key)} for each in (document, given))
        if difference := first_difference(one, other):
            raise CheckFailed(f"{DATASET_JSON}: {difference}")


def verify_dataset(dataset: Dataset, workers: int) -> Verified:
    """Check a dataset completely.

    Args:
        dataset: The dataset to check.
        workers: Number of processes; 0 for as many as pay off.

    Returns:
        How much was read.

    Raises:
        CheckFailed: Something is wrong; the message names the first error.
    """
    shards = dataset.description.shards
    check_files(dataset, shards)
    expected = expected_records(dataset)
    ledger = CrossCheck()
    totals: Counter = Counter()
    dropped: Counter[tuple[str, str]] = Counter()
    rows = 0
    for where, row in manifest_rows(dataset):
        ledger.add_row(where, row)
        totals.update(dataset_description.tally_row(row))
        if row.outcome != WRITTEN:
            dropped[row.path, row.reason] += 1
        rows += 1
    records = 0
    problem, statistics = "", Statistics(0, (0,) * 6)
    checking = console.Phase("checking", sum(shard.examples for shard in shards), "records")
    for shard, (facts, known) in read_shards(dataset.folder, shards, expected, worker_count(workers, shards)):
        ledger.add_shard(shard, facts)
        records += len(facts)
        checking.reached(records)
        assert known
        problem = problem or known.problem or ledger.known_problem(known)
        if shard.split == "train":
            statistics = statistics.plus(len(known.looks), known.sums)
    checking.close()
    ledger.close()
    check_rejects(dataset, dropped)
    check_description(dataset.description, totals)
    if problem:
        raise CheckFailed(problem)
    check_past(dataset, ledger)
    check_tfds(dataset)
    check_cards(dataset)
    console.say("running both graphs", phase="graphs")
    check_graphs_apart(dataset, statistics)
    return Verified(len(shards), sum(shard.bytes for shard in shards), records, rows)
