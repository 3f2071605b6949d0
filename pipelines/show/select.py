"""Choose images of a dataset to show, find their records, and list what the manifest says about them."""

from __future__ import annotations

import heapq
import itertools
import string
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pipelines.common.cli import UsageError
from pipelines.common.seeding import stable_hash
from pipelines.common.text import visible
from pipelines.dataset.image_row import DUPLICATE, WRITTEN, fold_name
from pipelines.dataset.records import DamagedShard, StoredImage, read_shard
from pipelines.domain.dataset_json import DatasetDescription

# Most files shown for one image.
_FILES = 1_000
# Fewest hexadecimal digits that select by hash; a shorter prefix matches too many images.
_HASH_PREFIX = 6


Row = Mapping[str, Any]
Rows = Callable[[], Iterable[Row]]


class Chosen(NamedTuple):
    """The rows of the manifest to show."""

    rows: list[Row]
    among: int  # number of rows to choose from


def choose(rows: Iterable[Row], count: int, seed: int, class_name: str | None, split: str | None) -> Chosen:
    """Choose written images at random, but reproducibly: the first ones in the order of a hash of seed and id.

    Args:
        rows: The rows of the manifest.
        count: How many images to choose; fewer if there are not as many.
        seed: Another seed chooses other images.
        class_name: The class to choose from; None for all.
        split: The split to choose from; None for all.

    Returns:
        The chosen rows, in the order of their hashes.
    """
    among = 0

    def wanted() -> Iterator[tuple[int, str, Row]]:
        nonlocal among
        for row in rows:
            if row["outcome"] == WRITTEN and class_name in (None, row["label"]) and split in (None, row["split"]):
                among += 1
                yield stable_hash(seed, "show", row["id"]), row["sha256"], row

    chosen = heapq.nsmallest(count, wanted(), key=lambda item: item[:2])
    return Chosen([row for *_, row in chosen], among)


def _shared(name: str, other: str) -> int:
    """Return the length of the common prefix of two texts."""
    pairs = enumerate(zip(name, other, strict=False))
    return next((place for place, (one, two) in pairs if one != two), min(len(name), len(other)))


def _likeness(name: str, other: str) -> int:
    """Return the length of the common prefix and suffix of two ids, ignoring case."""
    name, other = name.lower(), other.lower()
    before = _shared(name, other)
    return before + _shared(name[before:][::-1], other[before:][::-1])


def _unknown(rows: Iterable[Row], name: str) -> UsageError:
    ids = heapq.nsmallest(12, ((-_likeness(name, row["id"]), row["id"]) for row in rows))
    nearest = [one for _, one in dict.fromkeys(ids)][:3]
    hint = f"; the nearest are {', '.join(map(visible, nearest))}" if nearest else ""
    return UsageError(f"--id {visible(name)}: no file of this dataset has this id{hint}")


def find_image(rows: Rows, name: str) -> list[Row]:
    """Return the files of one image.

    Args:
        rows: Reads the rows of the manifest from the start; may be called more than once.
        name: An image id as in the manifest, or the beginning of a SHA-256.

    Returns:
        The rows of its files, the written one first. If all of them are duplicates, the file that was kept is included,
        though it has another id.

    Raises:
        UsageError: `name` matches no image, or the hashes of several.
    """
    prefix = name.lower() if len(name) >= _HASH_PREFIX and set(name) <= set(string.hexdigits) else None
    by_id: list[Row] = []
    by_hash: list[Row] = []
    for row in rows():
        if row["id"] == name and len(by_id) < _FILES:
            by_id.append(row)
        elif prefix and (row["sha256"] or "").startswith(prefix) and len(by_hash) < _FILES:
            by_hash.append(row)
    hashes = {row["sha256"] for row in by_hash}
    if not by_id and len(hashes) > 1:
        some = ", ".join(found[:16] for found in sorted(hashes)[:3])
        raise UsageError(f"--id {name}: {len(hashes)} images have hashes that begin so ({some}); give more of it")
    files = by_id or by_hash
    if not files:
        raise _unknown(rows(), name)
    copied = {row["sha256"] for row in files if row["outcome"] == DUPLICATE}
    if copied and not any(row["outcome"] == WRITTEN for row in files):
        # The file that was kept instead of these has another id.
        files += [row for row in rows() if row["sha256"] in copied and row["outcome"] == WRITTEN]
    return sorted(files, key=lambda row: (row["outcome"] != WRITTEN, row["outcome"], row["path"]))


class FoundImages(NamedTuple):
    """The records of some images, and how much was read to find them."""

    records: dict[str, list[StoredImage]]  # SHA-256 -> records of the image, in order of copy
    scanned: str  # how many shards were read, in words


def find_records(folder: str, description: DatasetDescription, rows: Sequence[Row], most: int) -> FoundImages:
    """Find all records of written images.

    The shards of each split or fold are read one after the other, until every record is found.

    Args:
        folder: The folder of the dataset; local or gs://.
        description: What dataset.json says.
        rows: The rows of the images in the manifest; all of them written.
        most: Copies with this number or a higher one are returned without their pixels, to save memory.

    Raises:
        DamagedShard: A shard is damaged, or the shards lack records that the manifest lists.
    """
    parts: dict[tuple[str, int | None], dict[str, int]] = defaultdict(dict)
    for row in rows:
        parts[row["split"], row["fold"]][row["sha256"]] = row["copies"]
    records: dict[str, list[StoredImage]] = defaultdict(list)
    scanned = []
    for (split, fold), missing in sorted(parts.items(), key=str):
        shards = description.shards_of(split, fold)
        part = split if fold is None else f"{split} {fold_name(fold)}"
        read = 0
        for shard in shards:
            read += 1
            for record in read_shard(folder, shard.name):
                if record.sha256 not in missing:
                    continue
                kept = record if record.copy < most else record._replace(encoded=b"")
                records[record.sha256].append(kept)
                missing[record.sha256] -= 1
            missing = {sha256: copies for sha256, copies in missing.items() if copies}
            if not missing:
                break
        if missing:
            lost = next(iter(missing))
            raise DamagedShard(f"{part}: the manifest has {missing[lost]} more records of image {lost[:16]} than it")
        scanned.append(f"{read} of {len(shards)} shards of {part}")
    in_order = {sha256: sorted(found, key=lambda record: record.copy) for sha256, found in records.items()}
    return FoundImages(in_order, ", ".join(scanned))


def _record_facts(records: Iterable[StoredImage]) -> Iterator[tuple[str, str]]:
    for shard, found in itertools.groupby(records, key=lambda record: record.shard):
        inside = list(found)
        if not inside[0].copy:
            yield "original", f"record {inside.pop(0).position} of {shard}"
        if len(inside) == 1:
            yield f"copy {inside[0].copy}", f"record {inside[0].position} of {shard}"
        elif inside:
            places = ", ".join(str(record.position) for record in inside)
            yield f"copies {inside[0].copy} to {inside[-1].copy}", f"records {places} of {shard}"


def facts_of(row: Row, classes: Sequence[str], records: Sequence[StoredImage]) -> tuple[tuple[str, str], ...]:
    """Return what is known about a file and its outcome.

    Args:
        row: The row of the file in the manifest.
        classes: Class names in label order.
        records: The records of the image, in order of copy; empty unless it was written.

    Returns:
        (name, value) of every fact that is known.
    """
    outcome = row["outcome"] + (f" ({row['reason']})" if row["reason"] else "")
    label = row["label"]
    number = f" (label {classes.index(label)})" if row["outcome"] == WRITTEN else ""
    size = f"{row['format']}, {row['width']} x {row['height']}" if row["width"] else ""
    known = (
        ("outcome", outcome),
        ("class", f"{label}{number}" if label else ""),
        ("split", row["split"]),
        ("fold", "" if row["fold"] is None else str(row["fold"])),
        ("said of it", row["claims"]),
        ("lesion", row["lesion_id"]),
        ("patient", row["patient_id"]),
        ("licence", row["license"]),
        ("group", row["group_id"]),
        ("file", row["path"]),
        ("file is", size),
        ("sha256", row["sha256"]),
    )
    return (*((name, value) for name, value in known if value), *_record_facts(records))
