"""Read and check dataset.json, the description of a prepared dataset. Imports no TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipelines.common.cli import UsageError
from pipelines.domain.dataset_json import DATASET_JSON, SCHEMA_VERSION

SPLITS = ("train", "validation", "test")
# Name of a compression in dataset.json -> its name in TensorFlow.
COMPRESSION_TYPES = {"none": "", "gzip": "GZIP"}


@dataclass(frozen=True)
class ClassCount:
    """Number of images of one class in one split."""

    originals: int  # image files as listed
    examples: int  # records as stored: originals and augmented copies


@dataclass(frozen=True)
class Split:
    """One of the splits train, validation and test."""

    name: str
    shards: tuple[Path, ...]  # full paths of TFRecord files, in the order of their names
    originals: int
    examples: int  # records to read: all of them, or with `originals_only` those that are not augmented copies
    per_class: Mapping[str, ClassCount]
    # Parts of a train split that was prepared with folds; each has whole groups, and shards of its own.
    folds: tuple[Split, ...] = ()
    originals_only: bool = False


@dataclass(frozen=True)
class DatasetInfo:
    """A finished dataset, or one with a fold as its validation split (see `fold_split`)."""

    path: Path
    fingerprint: str
    classes: tuple[str, ...]  # names, by label
    malignant_classes: tuple[str, ...]
    image_size: int  # side in pixels
    aspect: str  # how images were made square, one of prepare's `--aspect`
    splits: Mapping[str, Split]
    encoding: str = "jpeg"  # of the stored images, one of prepare's `--encoding`
    compression: str = "none"  # of the shards, one of COMPRESSION_TYPES
    place: str = ""  # place in the user's words, which is not `path` if that is a copy of a dataset in a bucket
    left_out: Mapping[str, int] = field(default_factory=dict)  # reason -> listed files that did not become records
    fold: int = -1  # the fold that validates; -1: the dataset as prepared

    @property
    def transform_fn(self) -> Path:
        """Directory of the SavedModel that turns stored images into normalised pixels."""
        return self.path / "transform_fn"

    @property
    def standardize_fn(self) -> Path:
        """Directory of the SavedModel that turns raw image files into stored images."""
        return self.path / "standardize_fn"

    def split(self, name: str) -> Split:
        """Return the split with this name.

        Raises:
            UsageError: If the dataset has no such split, or the split is empty.
        """
        if name not in self.splits:
            raise UsageError(f"{self.place} has no split '{name}': it has {', '.join(self.splits)}")
        if not self.splits[name].examples:
            way_out = "prepare it with another --split_fractions"
            folds = len(self.splits["train"].folds)
            if folds:
                # With --folds, the validation split is empty by default.
                way_out = f"use one of its {folds} folds with --fold 0 to --fold {folds - 1}"
            raise UsageError(f"the {name} split of {self.place} is empty: {way_out}")
        return self.splits[name]

    def train_distribution(self) -> dict[str, float]:
        """Return each class's share of the originals in the train split (before balancing), in label order."""
        train = self.splits["train"]
        return {name: train.per_class[name].originals / max(train.originals, 1) for name in self.classes}


def read_dataset_info(directory: str | Path, option: str = "--dataset") -> DatasetInfo:
    """Read DIRECTORY/dataset.json and check that every file it names exists.

    Args:
        directory: Directory of the dataset.
        option: Option that names the directory, for messages.

    Raises:
        UsageError: If the dataset is missing, unfinished or damaged; the message is one line that names the option, the
            directory and a remedy.
    """
    path = Path(directory)
    where = f"{option} {path}"
    if not path.is_dir():
        raise UsageError(f"{where}: no such directory; make the dataset with python -m pipelines.prepare")
    document = path / DATASET_JSON
    if not document.is_file():
        raise unfinished(where)
    info = parse_dataset_info(document.read_bytes(), path, str(path), option)
    needed = [*shard_names(info, SPLITS), "transform_fn/saved_model.pb", "standardize_fn/saved_model.pb"]
    require_files([name for name in needed if not (path / name).is_file()], where)
    return info


def unfinished(where: str) -> UsageError:
    """Return the error for a place without dataset.json.

    Args:
        where: Option and place, with which the message begins.
    """
    return UsageError(f"{where}: not a finished dataset (no dataset.json); run python -m pipelines.prepare again")


def require_files(missing: Sequence[str], where: str) -> None:
    """Raise UsageError if files of a dataset are missing.

    Args:
        missing: Names of the missing files.
        where: Option and place of the dataset, with which the message begins.

    Raises:
        UsageError: If `missing` is not empty.
    """
    if missing:
        raise UsageError(f"{where}: {missing[0]} is missing ({len(missing)} in all); prepare it again")


def shard_names(info: DatasetInfo, splits: Iterable[str]) -> list[str]:
    """Return the names of the shards of some splits, relative to the dataset's directory."""
    return [shard.name for name in splits for shard in info.splits[name].shards]


def parse_dataset_info(document: bytes, path: Path, place: str, option: str = "--dataset") -> DatasetInfo:
    """Return the description of a dataset from the contents of its dataset.json.

    Args:
        document: Contents of dataset.json.
        path: Directory that has the files of the dataset, or will have them.
        place: Place of the dataset in the user's words.
        option: Option that names the place, for messages.

    Raises:
        UsageError: If the document is damaged, has another schema version or fewer than two classes.
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
    # Datasets from before there was a choice do not name it.
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
    # A split lists its shards as objects, a fold lists the names of its own shards.
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
    """Return the dataset for one turn of cross-validation.

    The fold validates, without its augmented copies. All other folds train, and the test split does not change.

    Args:
        info: Dataset that was prepared with folds.
        fold: Number of the fold, from 0.

    Raises:
        UsageError: If the dataset has no such fold.
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
