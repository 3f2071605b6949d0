"""The content of `dataset.json`, with the dataset's fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipelines.dataset.accounting import (
    _SUM_MODULUS,
    AccountingError,
    check_sums,
    describe_beside,
    reasons,
    tally_outcome,
)
from pipelines.dataset.image_row import (
    DUPLICATE,
    OUTCOMES,
    REJECTED,
    UNDERSAMPLED,
    WRITTEN,
    ImageRow,
    fold_name,
    parts_of,
)
from pipelines.dataset.manifest import LIST_SEPARATOR
from pipelines.domain.dataset_json import SCHEMA_VERSION, SPLITS, Shard
from pipelines.domain.taxonomy import malignant_classes
from pipelines.imaging.encoding import SHARD_SUFFIX

# Keys of dataset.json that follow from images and classes. All others are settings and go into the fingerprint.
DERIVED = frozenset(
    {
        "schema_version",
        "fingerprint",
        "classes",
        "malignant_classes",
        "counts",
        "beside",
        "dropped",
        "near_duplicates",
        "frequent_lesions",
        "splits",
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
    frequent_lesions: Sequence[Mapping[str, Any]],
    shards: Sequence[Shard],
    classes: Sequence[str],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of `dataset.json`.

    Args:
        listed: The result of CountListed.
        totals: The sum of `tally_row` over all rows.
        near_duplicates: The numbers of pairs found and of comparisons skipped, as `pairs` and `skipped`.
        frequent_lesions: Values that name very many images as one lesion, most frequent first.
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
        "beside": describe_beside(listed),
        "dropped": reasons(totals),
        "near_duplicates": dict(near_duplicates),
        "frequent_lesions": list(frequent_lesions),
        "splits": splits,
    }


def shard_name(split: str, index: int, count: int, compression: str = "none") -> str:
    """Return the conventional file name of a shard."""
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord{SHARD_SUFFIX[compression]}"
