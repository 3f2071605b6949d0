"""Account for every listed file, or fail the run; make the totals, the fingerprint and `dataset.json`."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apache_beam as beam

from pipelines import storage
from pipelines.cli import LimitExceeded
from pipelines.rows import (
    DUPLICATE,
    OUTCOMES,
    REJECTED,
    SPLITS,
    UNDERSAMPLED,
    WRITTEN,
    ImageRow,
    fold_name,
    parts_of,
)
from pipelines.seeding import stable_hash
from pipelines.sources import ListedFile, images_of
from pipelines.tables import LIST_SEPARATOR
from pipelines.taxonomy import malignant_classes
from pipelines.write import Shard

SCHEMA_VERSION = 1
# Keys of dataset.json that follow from images and classes. All others are settings and go into the fingerprint.
DERIVED = frozenset(
    {
        "schema_version",
        "fingerprint",
        "classes",
        "malignant_classes",
        "counts",
        "dropped",
        "near_duplicates",
        "splits",
    }
)
_SUM_MODULUS = 1 << 128


class AccountingError(Exception):
    """Error for files that were lost or counted twice: a fault of the pipeline or its runner, never of the input."""


class Tally(beam.CombineFn):
    """CombineFn that adds up Counters.

    Counts, and sums of hashes that stand for sets, can be added in any order.
    """

    def create_accumulator(self) -> Counter:
        """Return an empty Counter."""
        return Counter()

    def add_input(self, totals: Counter, counts: Mapping) -> Counter:
        """Add one element's counts to the accumulator in place."""
        totals.update(counts)
        return totals

    def merge_accumulators(self, accumulators: Iterable[Counter]) -> Counter:
        """Return the sum of the accumulators."""
        merged: Counter = Counter()
        for totals in accumulators:
            merged.update(totals)
        return merged

    def extract_output(self, totals: Counter) -> Counter:
        """Return the totals."""
        return totals


def path_hash(path: str) -> int:
    """Return what a path adds to a sum of hashes that stands for a set of files."""
    return stable_hash("path", path)


def _tally_chunk(chunk: Sequence[ListedFile]) -> Counter:
    paths = [listed.file.path for listed in images_of(chunk)]
    counts = {("listed",): len(paths), ("listed paths",): sum(map(path_hash, paths))}
    return Counter({**counts, ("ignored",): len(chunk) - len(paths)})


class TallyListed(beam.PTransform):
    """PTransform that counts the listed files."""

    def expand(self, chunks: beam.PCollection) -> beam.PCollection[Counter]:
        """Turn chunks of listed files into one Counter: images, the sum of their path hashes, and other files."""
        return chunks | "Count files" >> beam.Map(_tally_chunk) | "Sum files" >> beam.CombineGlobally(Tally())


def tally_outcome(row: ImageRow) -> Counter:
    """Return what a finished row of any job adds to the totals: its outcome, its source and its path."""
    return Counter(
        {
            ("outcome", row.outcome): 1,
            ("outcome paths",): path_hash(row.path),
            ("source", row.source, row.outcome): 1,
        }
    )


def tally_row(row: ImageRow) -> Counter:
    """Return what a finished row of prepare adds to the totals.

    Everything but the path hash can be computed from the manifest.
    """
    counts = tally_outcome(row)
    if row.outcome == WRITTEN:
        if row.split == "train":
            # Few distinct keys: within a class, or a class and fold, numbers of copies differ by at most one.
            counts["copies", row.label, row.copies] = 1
        for part in parts_of(row):
            counts["originals", part, row.label] = 1
            counts["examples", part, row.label] = row.copies
        counts["with lesion id",] = 1 if row.lesion_ids else 0
        # Everything that a record holds of its row, so that datasets with one fingerprint have the same records.
        names = (row.sha256, row.image_id, row.label, row.group_id, LIST_SEPARATOR.join(row.lesion_ids))
        content = "\x1f".join(map(str, (*names, row.split, row.fold, row.copies)))
        counts["content",] = int.from_bytes(hashlib.sha256(content.encode()).digest()[:16], "big")
    else:
        counts["reason", row.reason] = 1
        if row.outcome == UNDERSAMPLED:
            counts["undersampled", row.label] = 1
    return counts


def check_sums(listed: Mapping, finished: Mapping, outcomes: Sequence[str] = OUTCOMES) -> None:
    """Raise AccountingError unless the files that were listed are the files that were finished.

    Args:
        listed: The result of TallyListed.
        finished: The sum of `tally_outcome` or `tally_row` over all rows.
        outcomes: The outcomes that a row of this job can have.

    Raises:
        AccountingError: If the numbers or the sums of path hashes differ.
    """
    expected = listed.get(("listed",), 0)
    counts = {outcome: finished.get(("outcome", outcome), 0) for outcome in outcomes}
    found = sum(counts.values())
    if found != expected:
        detail = " + ".join(f"{count} {outcome}" for outcome, count in counts.items())
        verb = "lost" if found < expected else "counted twice"
        raise AccountingError(f"{expected} files listed, but {detail} = {found}: {abs(expected - found)} {verb}")
    if (listed.get(("listed paths",), 0) - finished.get(("outcome paths",), 0)) % _SUM_MODULUS:
        raise AccountingError(f"{expected} files listed and as many accounted for, but not the same files")


def reasons(totals: Mapping) -> dict[str, int]:
    """Count the files that were dropped for each reason."""
    return {key[1]: totals[key] for key in sorted(totals) if key[0] == "reason"}


def check_reject_fraction(counts: Mapping[str, int], limit: float, folder: str) -> None:
    """Raise LimitExceeded if too many files were rejected.

    Args:
        counts: The counts of dataset.json, of which `rejected` and `listed` are used.
        limit: The largest fraction of the listed files that may be rejected, from 0 to 1.
        folder: The output folder, for the message.

    Raises:
        LimitExceeded: If more are rejected.
    """
    if counts["rejected"] > limit * counts["listed"]:
        raise LimitExceeded(
            f"{counts['rejected']} of {counts['listed']} files rejected, more than --max_reject_fraction {limit:g}; "
            f"the reasons are in {storage.join(folder, 'rejects-*.jsonl')}"
        )


def fingerprint(totals: Mapping, settings: Mapping[str, Any]) -> str:
    """Return a SHA-256, in hexadecimal, of the settings and of the set of written images.

    It covers the settings that determine records, and everything that the records hold of each image.
    """
    content = totals.get(("content",), 0) % _SUM_MODULUS
    text = json.dumps({"settings": settings, "content": f"{content:032x}"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _describe_part(totals: Mapping, shards: Sequence[Shard], part: str, classes: Sequence[str]) -> dict[str, Any]:
    per_class = {
        name: {
            "originals": totals.get(("originals", part, name), 0),
            "examples": totals.get(("examples", part, name), 0),
        }
        for name in classes
    }
    return {
        "originals": sum(entry["originals"] for entry in per_class.values()),
        "examples": sum(shard.examples for shard in shards),
        "bytes": sum(shard.bytes for shard in shards),
        "per_class": per_class,
    }


def _describe_fold(totals: Mapping, fold: int, shards: Sequence[Shard], classes: Sequence[str]) -> dict[str, Any]:
    own = [shard for shard in shards if shard.fold == fold]
    names = [shard.name for shard in own]
    return {"fold": fold, "shards": names, **_describe_part(totals, own, fold_name(fold), classes)}


def describe_split(totals: Mapping, shards: Iterable[Shard], split: str, classes: Sequence[str]) -> dict[str, Any]:
    """Return the entry of one split in `dataset.json`.

    The train split also has a list of its folds, empty if there are none.
    """
    own = sorted(shard for shard in shards if shard.split == split)
    files = [
        {"name": shard.name, "examples": shard.examples, "bytes": shard.bytes, "sha256": shard.sha256} for shard in own
    ]
    described = {"shards": files, **_describe_part(totals, own, split, classes)}
    if split == "train":
        described["folds"] = [
            _describe_fold(totals, fold, own, classes)
            for fold in sorted({shard.fold for shard in own if shard.fold >= 0})
        ]
    return described


def settings_in(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in a dataset.json, as they were passed to `describe_dataset`."""
    return {key: value for key, value in description.items() if key not in DERIVED}


def describe_dataset(
    listed: Mapping,
    totals: Mapping,
    near_duplicates: Mapping[str, int],
    shards: Sequence[Shard],
    classes: Sequence[str],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of `dataset.json`.

    Args:
        listed: The result of TallyListed.
        totals: The sum of `tally_row` over all rows.
        near_duplicates: The numbers of pairs found and of comparisons skipped, as `pairs` and `skipped`.
        shards: All written shards.
        classes: Class names in label order.
        settings: What determines the records besides the images (options, seed, versions); copied into the result.

    Raises:
        AccountingError: If the totals do not agree.
    """
    check_sums(listed, totals)
    splits = {split: describe_split(totals, shards, split, classes) for split in SPLITS}
    planned = sum(count for key, count in totals.items() if key[0] == "examples" and key[1] in SPLITS)
    written = sum(entry["examples"] for entry in splits.values())
    if planned != written:
        raise AccountingError(f"{planned} examples planned, but the shards hold {written}")
    outcome = {name: totals.get(("outcome", name), 0) for name in OUTCOMES}
    return {
        "schema_version": SCHEMA_VERSION,
        "fingerprint": fingerprint(totals, {"classes": list(classes), **settings}),
        "classes": list(classes),
        "malignant_classes": malignant_classes(classes),
        **settings,
        "counts": {
            "listed": listed.get(("listed",), 0),
            "ignored": listed.get(("ignored",), 0),
            "written": outcome[WRITTEN],
            "duplicates": outcome[DUPLICATE],
            "rejected": outcome[REJECTED],
            "undersampled": outcome[UNDERSAMPLED],
            "with_lesion_id": totals.get(("with lesion id",), 0),
        },
        "dropped": reasons(totals),
        "near_duplicates": dict(near_duplicates),
        "splits": splits,
    }
