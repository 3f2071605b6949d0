"""Is a finished dataset what its dataset.json says, down to every record?

    dataset.json, files -> every shard, in processes -> leaks, manifest -> rejects -> sums, fingerprint

Everything is read once; of a shard, a MiB and a record at a time. What is kept grows with images, not with bytes.
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

from pipelines import account, output
from pipelines.cli import CheckFailed
from pipelines.dataset_files import MARKER, Dataset, manifest_rows, reject_lines
from pipelines.ledger import Ledger
from pipelines.record_schema import RECORD_SCHEMA, feature_kinds, parse_record_schema, record_schema
from pipelines.storage import printable
from pipelines.verify_records import Expected, RecordFacts, ShardEntry, verify_shard
from pipelines.write import Shard

NEEDED = (
    RECORD_SCHEMA,
    "standardize_fn/saved_model.pb",
    "transform_fn/assets/class_counts",
    "transform_fn/saved_model.pb",
    "transformed_metadata/schema.pbtxt",
)
# Results that wait for their turn, for each worker: enough that none is idle, little enough to keep in memory.
_WAITING = 2
# A process takes two seconds to start, and reads twice as much in that time.
_WORTH_A_PROCESS = 32 << 20


class Verified(NamedTuple):
    """What was read of a dataset in which everything is as it should be."""

    shards: int
    bytes: int
    records: int
    rows: int


def shard_entries(description: Mapping[str, Any]) -> list[ShardEntry]:
    """Every shard that a dataset.json names, by name."""
    folds = {name: fold["fold"] for fold in description["splits"]["train"]["folds"] for name in fold["shards"]}
    return sorted(
        ShardEntry(split=split, fold=folds.get(shard["name"], -1), **shard)
        for split, entry in description["splits"].items()
        for shard in entry["shards"]
    )


def check_files(dataset: Dataset, shards: Iterable[ShardEntry]) -> None:
    """Raise CheckFailed when a file is missing, or lies there as if it were a shard."""
    unfinished = [name for name in dataset.names if name.startswith(f"{output.TEMPORARY}/")]
    if unfinished:
        raise CheckFailed(f"unfinished: {output.TEMPORARY} is there; the prepare command, given again, finishes it")
    named = {shard.name for shard in shards}
    for name in sorted(named.union(NEEDED) - dataset.names):
        raise CheckFailed(f"{name} is missing")
    for name in sorted(dataset.names - named):
        if "/" not in name and ".tfrecord" in name:
            raise CheckFailed(f"{printable(name)}: lies among the shards, but {MARKER} does not name it")


def expected_records(dataset: Dataset) -> Expected:
    """What every record has to be. Raises CheckFailed unless schema.pbtxt says the same as dataset.json."""
    description = dataset.description
    try:
        schema = parse_record_schema(dataset.read(RECORD_SCHEMA))
    except ValueError as error:
        raise CheckFailed(f"{RECORD_SCHEMA}: is damaged ({error})") from error
    if schema != record_schema(description):
        raise CheckFailed(f"{RECORD_SCHEMA}: is not that of the classes, size and encoding in {MARKER}")
    return Expected(
        classes=tuple(description["classes"]),
        image_size=description["image_size"],
        format=description["encoding"]["format"],
        compression=description.get("compression", "none"),
        kinds=feature_kinds(schema),
    )


def _ignore_interrupts() -> None:
    """An interrupt reaches every process of the terminal; the first of them ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def worker_count(workers: int, shards: Sequence[ShardEntry]) -> int:
    """How many processes read these shards. workers: what was asked for; 0: as many as are of use."""
    if not workers:
        worth = sum(shard.bytes for shard in shards) // _WORTH_A_PROCESS
        workers = min(len(os.sched_getaffinity(0)), worth)
    return max(1, min(workers, len(shards)))


def read_shards(
    folder: str, shards: Sequence[ShardEntry], expected: Expected, workers: int
) -> Iterator[tuple[ShardEntry, list[RecordFacts]]]:
    """Verify shards, several at once, each in a process; results in the order given, the first failure raised.

    Processes: what is not decoding holds the interpreter's lock, so that threads would not fill a large machine.
    """
    check = functools.partial(verify_shard, folder, expected=expected)
    if workers == 1:
        yield from ((shard, check(shard)) for shard in shards)
        return
    # Its one server imports what the workers need; they are forked from it, with no thread of ours in them.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "pipelines.compare"])
    with ProcessPoolExecutor(workers, context, _ignore_interrupts) as pool:
        coming: deque[tuple[ShardEntry, Future]] = deque()
        try:
            for shard in shards:
                coming.append((shard, pool.submit(check, shard)))
                if len(coming) >= _WAITING * workers:
                    done, future = coming.popleft()
                    yield done, future.result()
            for done, future in coming:
                yield done, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def check_rejects(dataset: Dataset, dropped: Counter[tuple[str, str]]) -> None:
    """Raise CheckFailed unless the rejects files tell of the files that the manifest dropped, and why."""
    told: Counter[tuple[str, str]] = Counter()
    for where, path, reason in reject_lines(dataset):
        told[path, reason] += 1
        if told[path, reason] > dropped[path, reason]:
            raise CheckFailed(f"{where}: {path} is not dropped as {reason} in the manifest")
    for path, reason in sorted(dropped - told):
        raise CheckFailed(f"no rejects file names {path}, which the manifest drops as {reason}")


def first_difference(found: Any, expected: Any, where: str = "") -> str:
    """Where two JSON documents differ first, by the names of their keys, and how; empty when they do not."""
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


def check_description(description: Mapping[str, Any], totals: Counter, shards: Iterable[ShardEntry]) -> None:
    """Raise CheckFailed unless dataset.json is what the totals of the manifest's rows and the shards make of it."""
    foreign = [name for name in description["malignant_classes"] if name not in description["classes"]]
    if foreign:
        raise CheckFailed(f"{MARKER}: malignant_classes has {foreign[0]!r}, which is no class")
    rows = sum(count for key, count in totals.items() if key[0] == "outcome")
    # The manifest has one row for each file listed, and nothing on files ignored or comparisons made.
    listed = {
        ("listed",): rows,
        ("listed paths",): totals["outcome paths",],
        ("ignored",): description["counts"]["ignored"],
    }
    stored = [Shard(shard.name, shard.split, shard.examples, shard.bytes, shard.sha256, shard.fold) for shard in shards]
    try:
        given = account.describe_dataset(
            *(listed, totals, description["near_duplicates"], stored),
            *(description["classes"], account.settings_in(description)),
        )
    except account.AccountingError as error:
        raise CheckFailed(f"{MARKER}: {error}") from error
    # Of the taxonomy of the day; no record depends on it.
    given["malignant_classes"] = description["malignant_classes"]
    # The fingerprint covers the rest: what it is made of is named first.
    for part in (lambda key: key != "fingerprint", lambda key: key == "fingerprint"):
        one, other = ({key: value for key, value in each.items() if part(key)} for each in (description, given))
        if difference := first_difference(one, other):
            raise CheckFailed(f"{MARKER}: {difference}")


def verify_dataset(dataset: Dataset, workers: int) -> Verified:
    """Check everything. Raises CheckFailed for the first difference."""
    shards = shard_entries(dataset.description)
    check_files(dataset, shards)
    expected = expected_records(dataset)
    ledger, totals = Ledger(), account.Tally().create_accumulator()
    dropped: Counter[tuple[str, str]] = Counter()
    rows = 0
    for where, row in manifest_rows(dataset):
        ledger.add_row(where, row)
        totals.update(account.tally_row(row))
        if row.reason:
            dropped[row.path, row.reason] += 1
        rows += 1
    records = 0
    for shard, facts in read_shards(dataset.folder, shards, expected, worker_count(workers, shards)):
        ledger.add_shard(shard, facts)
        records += len(facts)
    ledger.close()
    check_rejects(dataset, dropped)
    check_description(dataset.description, totals, shards)
    return Verified(len(shards), sum(shard.bytes for shard in shards), records, rows)
