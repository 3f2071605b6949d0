"""What a prepared dataset says about itself: dataset.json, read and checked. Imports no TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipelines.cli import UsageError

SCHEMA_VERSION = 1
DOCUMENT = "dataset.json"
SPLITS = ("train", "validation", "test")
# What dataset.json calls a compression, and what TensorFlow does.
COMPRESSION_TYPES = {"none": "", "gzip": "GZIP"}


@dataclass(frozen=True)
class ClassCount:
    """Images of one class in one split: files as listed, and examples as stored (originals and augmented copies)."""

    originals: int
    examples: int


@dataclass(frozen=True)
class Split:
    """One of train, validation, test. `shards` are full paths of TFRecord files, in the order of their names.

    examples: what is read of them: all records, or with `originals_only` those that are no augmented copies.
    folds: the parts of a train split that was prepared with folds, each with whole groups and shards of its own.
    """

    name: str
    shards: tuple[Path, ...]
    originals: int
    examples: int
    per_class: Mapping[str, ClassCount]
    folds: tuple[Split, ...] = ()
    originals_only: bool = False


@dataclass(frozen=True)
class DatasetInfo:
    """A finished dataset, or one with a fold for its validation split (see `fold_split`).

    `classes[label]` is the name of a label.

    compression: of the shards, one of COMPRESSIONS. aspect: how pictures were made square, one of prepare's `--aspect`.
    encoding: of the stored images, one of prepare's `--encoding`. place: where the user says it is, which is not `path`
    for the copy of a dataset in a bucket. left_out: reason -> files listed that became no record. fold: the one that
    validates, -1 for the dataset as it is.
    """

    path: Path
    fingerprint: str
    classes: tuple[str, ...]
    malignant_classes: tuple[str, ...]
    image_size: int
    aspect: str
    splits: Mapping[str, Split]
    encoding: str = "jpeg"
    compression: str = "none"
    place: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
    fold: int = -1

    @property
    def transform_fn(self) -> Path:
        return self.path / "transform_fn"

    @property
    def standardize_fn(self) -> Path:
        return self.path / "standardize_fn"

    def split(self, name: str) -> Split:
        """The split of that name; UsageError if the dataset has none, or it is empty."""
        if name not in self.splits:
            raise UsageError(f"{self.place} has no split '{name}': it has {', '.join(self.splits)}")
        if not self.splits[name].examples:
            way_out = "prepare it with another --split_fractions"
            folds = len(self.splits["train"].folds)
            if folds:
                # What --folds gives unless told otherwise.
                way_out = f"use one of its {folds} folds with --fold 0 to --fold {folds - 1}"
            raise UsageError(f"the {name} split of {self.place} is empty: {way_out}")
        return self.splits[name]

    def train_distribution(self) -> dict[str, float]:
        """Class -> its share of the train originals (before balancing), in label order."""
        train = self.splits["train"]
        return {name: train.per_class[name].originals / max(train.originals, 1) for name in self.classes}


def read_dataset_info(directory: str | Path, option: str = "--dataset") -> DatasetInfo:
    """Read DIRECTORY/dataset.json and check that everything it names is there.

    Raises UsageError with one line that names `option`, the directory and the way out.
    """
    path = Path(directory)
    where = f"{option} {path}"
    if not path.is_dir():
        raise UsageError(f"{where}: no such directory; make the dataset with python -m pipelines.prepare")
    document = path / DOCUMENT
    if not document.is_file():
        raise unfinished(where)
    info = parse_dataset_info(document.read_bytes(), path, str(path), option)
    needed = [*shard_names(info, SPLITS), "transform_fn/saved_model.pb", "standardize_fn/saved_model.pb"]
    require_files([name for name in needed if not (path / name).is_file()], where)
    return info


def unfinished(where: str) -> UsageError:
    """What to say of a place, after its option, that has no dataset.json."""
    return UsageError(f"{where}: not a finished dataset (no dataset.json); run python -m pipelines.prepare again")


def require_files(missing: Sequence[str], where: str) -> None:
    """UsageError if files of a dataset are missing."""
    if missing:
        raise UsageError(f"{where}: {missing[0]} is missing ({len(missing)} in all); prepare it again")


def shard_names(info: DatasetInfo, splits: Iterable[str]) -> list[str]:
    """Names of the shards of some splits, in the dataset's folder."""
    return [shard.name for name in splits for shard in info.splits[name].shards]


def parse_dataset_info(document: bytes, path: Path, place: str, option: str = "--dataset") -> DatasetInfo:
    """The contents of dataset.json, of a dataset whose files are (or will be) below `path`; UsageError if damaged.

    place: where it is, in the user's words.
    """
    where = f"{option} {place}"
    try:
        return _parse(path, place, json.loads(document.decode("utf-8")), where)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{where}: dataset.json is damaged ({type(error).__name__}: {error}); prepare it again"
        ) from None


def _parse(path: Path, place: str, values: Mapping[str, Any], where: str) -> DatasetInfo:
    if values["schema_version"] != SCHEMA_VERSION:
        raise UsageError(
            f"{where}: dataset.json has schema version {values['schema_version']}, this program reads "
            f"{SCHEMA_VERSION}; prepare it again with this version"
        )
    classes = tuple(map(str, values["classes"]))
    if len(classes) < 2:
        raise UsageError(f"{where}: has {len(classes)} class; a classifier needs at least two")
    # Datasets from before there was a choice do not say.
    compression = str(values.get("compression", "none"))
    if compression not in COMPRESSION_TYPES:
        raise ValueError(f"compression {compression!r}")
    return DatasetInfo(
        path=path,
        place=place,
        fingerprint=str(values["fingerprint"]),
        classes=classes,
        malignant_classes=tuple(map(str, values["malignant_classes"])),
        image_size=int(values["image_size"]),
        aspect=str(values["aspect"]),
        splits={name: _parse_split(path, name, values["splits"][name], classes) for name in SPLITS},
        compression=compression,
        encoding=str(values.get("encoding", {}).get("format", "jpeg")),
        left_out={str(reason): int(count) for reason, count in values.get("dropped", {}).items()},
    )


def _parse_split(path: Path, name: str, values: Mapping[str, Any], classes: tuple[str, ...]) -> Split:
    counts = values["per_class"]
    none = {"originals": 0, "examples": 0}
    # The whole split has entries of shards, a fold the names of those that are its own.
    shards = (shard if isinstance(shard, str) else shard["name"] for shard in values["shards"])
    return Split(
        name=name,
        shards=tuple(path / name for name in sorted(shards)),
        originals=int(values["originals"]),
        examples=int(values["examples"]),
        per_class={
            cls: ClassCount(int(counts.get(cls, none)["originals"]), int(counts.get(cls, none)["examples"]))
            for cls in classes
        },
        folds=tuple(_parse_split(path, name, fold, classes) for fold in values.get("folds", ())),
    )


def fold_split(info: DatasetInfo, fold: int) -> DatasetInfo:
    """The dataset for one turn of cross-validation: that fold validates, all others train; test stays as it is.

    Of the fold, augmented copies are left out. UsageError if the dataset has no such fold.
    """
    train = info.splits["train"]
    where = f"--fold {fold}"
    if not train.folds:
        raise UsageError(f"{where}: {info.place} was prepared without folds; prepare it with --folds 5")
    if not 0 <= fold < len(train.folds):
        raise UsageError(f"{where}: {info.place} has {len(train.folds)} folds; give 0 to {len(train.folds) - 1}")
    others = [part for index, part in enumerate(train.folds) if index != fold]
    left_out = train.folds[fold]

    def total(name: str) -> ClassCount:
        counts = [part.per_class[name] for part in others]
        return ClassCount(sum(count.originals for count in counts), sum(count.examples for count in counts))

    splits = {
        **info.splits,
        "train": Split(
            name="train",
            shards=tuple(sorted(shard for part in others for shard in part.shards)),
            originals=sum(part.originals for part in others),
            examples=sum(part.examples for part in others),
            per_class={name: total(name) for name in info.classes},
        ),
        "validation": replace(
            left_out,
            name="validation",
            examples=left_out.originals,
            per_class={
                name: ClassCount(count.originals, count.originals) for name, count in left_out.per_class.items()
            },
            originals_only=True,
        ),
    }
    return replace(info, splits=splits, fold=fold)
