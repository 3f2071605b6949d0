"""Compare two finished datasets by their dataset.json files and manifests, without reading records."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pipelines.common.cli import CheckFailed
from pipelines.dataset import description as dataset_description
from pipelines.dataset.finished import Dataset
from pipelines.dataset.image_row import DUPLICATE, REJECTED, UNDERSAMPLED, WRITTEN
from pipelines.dataset.manifest import LIST_SEPARATOR
from pipelines.dataset.reader import manifest_rows
from pipelines.verify.cross_check import SHA256

# Entries printed for each kind of difference.
SHOWN = 20
NONE = "none"
# Outcomes from most to least informative: of several files with the same bytes, the first one represents the image.
_TELLING = (WRITTEN, UNDERSAMPLED, REJECTED, DUPLICATE)


class Image(NamedTuple):
    """The outcome of an image; empty strings, -1 and 0 stand for "none"."""

    id: str
    outcome: str
    reason: str
    label: str
    split: str
    fold: int
    copies: int
    group: str
    lesion: str


# Kind of change -> (heading in the output, fields of Image to compare).
CHANGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "outcome": ("another outcome", ("outcome", "reason")),
    "label": ("relabelled", ("label",)),
    "split": ("in another split", ("split",)),
    "fold": ("in another fold", ("fold",)),
    "copies": ("with another number of copies", ("copies",)),
    "id": ("under another id", ("id",)),
    "group": ("in another group, or of another lesion", ("group", "lesion")),
}
# Kinds to skip for an image that only one dataset has written: they all differ then, and add nothing to the outcome.
_OF_RECORDS = ("split", "fold", "copies", "group")


def images_by_hash(dataset: Dataset) -> dict[bytes, Image]:
    """Return the outcome of every image in the manifest.

    Args:
        dataset: The dataset whose manifest is read.

    Returns:
        SHA-256 of the file -> its outcome. Files that could not be read have no hash and are left out.

    Raises:
        CheckFailed: The manifest is incomplete or damaged, or a row has an unknown outcome or no SHA-256 for a hash.
    """
    images: dict[bytes, Image] = {}
    for where, row in manifest_rows(dataset):
        if row.outcome not in _TELLING:
            raise CheckFailed(f"{where}: its outcome is {row.outcome!r}")
        if not row.sha256:
            continue
        if not SHA256.fullmatch(row.sha256):
            raise CheckFailed(f"{where}: its sha256 is {row.sha256!r}")
        outcome, reason, label, split = map(sys.intern, (row.outcome, row.reason, row.label, row.split))
        lesion = LIST_SEPARATOR.join(row.lesion_ids)
        image = Image(row.image_id, outcome, reason, label, split, row.fold, row.copies, row.group_id, lesion)
        known = images.setdefault(bytes.fromhex(row.sha256), image)
        if _TELLING.index(outcome) < _TELLING.index(known.outcome):
            images[bytes.fromhex(row.sha256)] = image
    return images


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of every leaf of nested mappings."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _settings(document: Mapping[str, Any]) -> dict[str, Any]:
    return {"classes": document["classes"], **dict(_flat(dataset_description.settings_in(document)))}


def changes_of(before: Image, after: Image) -> dict[str, tuple[dict, dict]]:
    """Return how the outcome of an image changed.

    Args:
        before: The image in the earlier dataset.
        after: The same image in the later dataset.

    Returns:
        Kind of change, a key of CHANGES -> (fields before, fields after). Kinds without a change are left out.
    """
    passing = () if before.outcome == after.outcome == WRITTEN else _OF_RECORDS
    found = {}
    for kind, (_, fields) in CHANGES.items():
        one, other = ({name: getattr(image, name) for name in fields} for image in (before, after))
        if one != other and kind not in passing:
            found[kind] = (one, other)
    # A file that was rejected before its class was determined has no label. Its outcome says so already.
    if "label" in found and not (before.label and after.label):
        del found["label"]
    # Only the training split has folds, so a new split implies a new fold.
    if "split" in found:
        found.pop("fold", None)
    return found


def compare(dataset: Dataset, other: Dataset) -> dict[str, Any]:
    """Compare a dataset with another one.

    Args:
        dataset: The dataset to describe ("to").
        other: The dataset to compare it with ("from").

    Returns:
        The differences, ready for JSON: settings, shards and images.

    Raises:
        CheckFailed: A manifest is incomplete or damaged.
    """
    old, new = images_by_hash(other), images_by_hash(dataset)
    changed: dict[str, list] = {"added": [], "removed": [], **{kind: [] for kind in CHANGES}}
    unchanged = 0
    for kind, these, those in (("added", new, old), ("removed", old, new)):
        for digest in these.keys() - those.keys():
            changed[kind].append({"sha256": digest.hex(), **these[digest]._asdict()})
    for digest in new.keys() & old.keys():
        found = changes_of(old[digest], new[digest])
        unchanged += not found
        for kind, (before, after) in found.items():
            entry = {"sha256": digest.hex(), "id": new[digest].id, "from": before, "to": after}
            changed[kind].append(entry)
    for entries in changed.values():
        entries.sort(key=lambda entry: (entry["id"], entry["sha256"]))
    settings = [_settings(each.description.document) for each in (other, dataset)]
    shards = [{shard.name: shard.sha256 for shard in each.description.shards} for each in (other, dataset)]
    return {
        "dataset": dataset.folder,
        "against": other.folder,
        "same_records": shards[0] == shards[1],
        "fingerprints": {"from": other.description.fingerprint, "to": dataset.description.fingerprint},
        "settings": [
            {"key": key, "from": settings[0].get(key), "to": settings[1].get(key)}
            for key in sorted(settings[0].keys() | settings[1].keys())
            if settings[0].get(key) != settings[1].get(key)
        ],
        "shards": {
            "from": len(shards[0]),
            "to": len(shards[1]),
            "same": len(shards[0].items() & shards[1].items()),
            "different": sorted(name for name, _ in shards[0].items() ^ shards[1].items()),
        },
        "images": {"from": len(old), "to": len(new), "unchanged": unchanged, **changed},
    }


def comparison_bytes(comparison: Mapping[str, Any]) -> bytes:
    """Return a comparison as a JSON file; the same bytes for the same datasets."""
    return (json.dumps(comparison, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _value(value: Any) -> str:
    return NONE if value in ("", None, -1) else value if isinstance(value, str) else json.dumps(value)


def _told(values: Mapping[str, Any]) -> str:
    return ", ".join(_value(value) for value in values.values() if value != "") or NONE


def _example(entry: Mapping[str, Any]) -> str:
    if "from" in entry:
        return f"{entry['id']}: {_told(entry['from'])} → {_told(entry['to'])}"
    return f"{entry['id']}: {_told({key: entry[key] for key in ('outcome', 'reason', 'label', 'split')})}"


def _verdict(comparison: Mapping[str, Any], differ: bool) -> str:
    shards = comparison["shards"]
    if comparison["same_records"]:
        return f"the same records: {shards['to']} shards with the same SHA-256"
    same = f"{shards['same']} of {shards['to']} shards are the same, byte for byte; there were {shards['from']}"
    if differ:
        return same
    return f"{same}; yet settings and images are the same: verify both, for one is not what its manifest says"


def summary_lines(comparison: Mapping[str, Any]) -> list[str]:
    """Return the lines to print for a comparison.

    Args:
        comparison: The result of `compare`.

    Returns:
        Changed settings, counts, the first SHOWN entries of each kind of change, and whether the records are the same.
    """
    images = comparison["images"]
    lines = [f"{comparison['dataset']}, against {comparison['against']} (before → after)"]
    lines += [
        f"{setting['key']}: {_value(setting['from'])} → {_value(setting['to'])}" for setting in comparison["settings"]
    ]
    lines.append(f"images: {images['from']} → {images['to']}, {images['unchanged']} unchanged")
    headings = {"added": "added", "removed": "removed", **{kind: heading for kind, (heading, _) in CHANGES.items()}}
    for kind, heading in headings.items():
        if images[kind]:
            lines.append(f"{heading}: {len(images[kind])}")
            lines += [f"  {_example(entry)}" for entry in images[kind][:SHOWN]]
            if len(images[kind]) > SHOWN:
                lines.append(f"  and {len(images[kind]) - SHOWN} more")
    differ = bool(comparison["settings"]) or any(images[kind] for kind in headings)
    lines.append(_verdict(comparison, differ))
    return lines
