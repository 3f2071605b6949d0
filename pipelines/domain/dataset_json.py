"""The description of a finished dataset, `dataset.json`, as every reader understands it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipelines.common.schema_version import require_schema_version

DATASET_JSON = "dataset.json"
SCHEMA_VERSION = 2
SPLITS = ("train", "validation", "test")
COMPRESSIONS = ("none", "gzip")


class ClassCount(NamedTuple):
    """Number of images of one class in one part of a dataset."""

    originals: int  # image files as listed
    examples: int  # records as stored: originals and augmented copies


class Shard(NamedTuple):
    """One TFRecord file."""

    name: str  # file name
    split: str
    examples: int
    bytes: int  # size of the file
    sha256: str  # of the bytes of the file, hexadecimal
    fold: int = -1  # fold of all its records; -1: none


@dataclass(frozen=True)
class Fold:
    """One fold of the train split; it has whole groups, and shards of its own."""

    number: int
    shards: tuple[Shard, ...]  # in the order of their names
    originals: int
    examples: int
    per_class: Mapping[str, ClassCount]


@dataclass(frozen=True)
class Split:
    """One of the splits train, validation and test."""

    name: str
    shards: tuple[Shard, ...]  # in the order of their names
    originals: int
    examples: int
    per_class: Mapping[str, ClassCount]
    folds: tuple[Fold, ...] = ()  # of a train split that was prepared with folds


@dataclass(frozen=True)
class DatasetDescription:
    """The content of dataset.json."""

    fingerprint: str
    classes: tuple[str, ...]  # names, in label order
    malignant_classes: tuple[str, ...]
    image_size: int  # side in pixels
    aspect: str  # how images were made square, one of prepare's `--aspect`
    encoding: str  # of the stored images, one of prepare's `--encoding`
    compression: str  # of the shards, one of COMPRESSIONS
    seed: int
    options: Mapping[str, Any]  # prepare's other options that decide records
    versions: Mapping[str, str]  # of the record format and of the libraries that decide pixels
    counts: Mapping[str, int]  # listed files by what became of them
    dropped: Mapping[str, int]  # reason -> listed files that did not become records
    splits: Mapping[str, Split]
    document: Mapping[str, Any] = field(repr=False)  # all of it, as JSON

    @property
    def shards(self) -> list[Shard]:
        """All shards, in the order of their names."""
        return sorted(shard for split in self.splits.values() for shard in split.shards)

    def shards_of(self, split: str, fold: int | None = None) -> tuple[Shard, ...]:
        """Return the shards of a split, or of one of its folds.

        Args:
            split: The name of the split.
            fold: A fold of the split; None, or a fold that the split does not have, for the whole split.
        """
        part = self.splits[split]
        return next((one.shards for one in part.folds if one.number == fold), part.shards)


def require_version(values: Mapping[str, Any], place: str) -> None:
    """Raise UsageError unless a dataset.json has the version that this program reads.

    Args:
        values: The content of dataset.json.
        place: How messages refer to the dataset.

    Raises:
        UsageError: If the version differs.
        KeyError: If it has none.
    """
    require_schema_version(values, SCHEMA_VERSION, f"{place}: {DATASET_JSON}", "prepare it again with this version")


def parse_description(document: bytes, place: str) -> DatasetDescription:
    """Return what a dataset.json says.

    Args:
        document: The content of the file.
        place: How messages refer to the dataset.

    Raises:
        UsageError: The document has another schema version.
        ValueError: The document is damaged; the message is one line.
    """
    try:
        values = json.loads(document)
        require_version(values, place)
        return description_of(values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def description_of(values: Mapping[str, Any]) -> DatasetDescription:
    """Return what a parsed dataset.json of this version says.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: It is damaged.
    """
    if values["compression"] not in COMPRESSIONS:
        raise ValueError(f"compression {values['compression']!r}")
    classes = tuple(map(str, values["classes"]))
    return DatasetDescription(
        fingerprint=str(values["fingerprint"]),
        classes=classes,
        malignant_classes=tuple(map(str, values["malignant_classes"])),
        image_size=int(values["image_size"]),
        aspect=str(values["aspect"]),
        encoding=str(values["encoding"]["format"]),
        compression=values["compression"],
        seed=int(values["seed"]),
        options=dict(values["options"]),
        versions=dict(values["versions"]),
        counts={str(name): int(count) for name, count in values["counts"].items()},
        dropped={str(reason): int(count) for reason, count in values["dropped"].items()},
        splits={name: _parse_split(name, values["splits"][name], classes) for name in SPLITS},
        document=values,
    )


def _parse_split(name: str, values: Mapping[str, Any], classes: Iterable[str]) -> Split:
    folds = values["folds"] if name == "train" else ()
    fold_of = {shard: int(fold["fold"]) for fold in folds for shard in fold["shards"]}
    shards = {
        entry["name"]: Shard(
            name=str(entry["name"]),
            split=name,
            examples=int(entry["examples"]),
            bytes=int(entry["bytes"]),
            sha256=str(entry["sha256"]),
            fold=fold_of.get(entry["name"], -1),
        )
        for entry in values["shards"]
    }
    return Split(
        name=name,
        shards=tuple(sorted(shards.values())),
        originals=int(values["originals"]),
        examples=int(values["examples"]),
        per_class=_parse_counts(values["per_class"], classes),
        folds=tuple(
            Fold(
                number=int(fold["fold"]),
                shards=tuple(shards[shard] for shard in sorted(fold["shards"])),
                originals=int(fold["originals"]),
                examples=int(fold["examples"]),
                per_class=_parse_counts(fold["per_class"], classes),
            )
            for fold in folds
        ),
    )


def _parse_counts(values: Mapping[str, Any], classes: Iterable[str]) -> dict[str, ClassCount]:
    return {name: ClassCount(int(values[name]["originals"]), int(values[name]["examples"])) for name in classes}
