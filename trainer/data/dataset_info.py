"""Read and check dataset.json, the description of a prepared dataset. Imports no TensorFlow."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.common.cli import UsageError
from pipelines.domain.dataset_json import (
    DATASET_JSON,
    SPLITS,
    ClassCount,
    DatasetDescription,
    Fold,
    Split,
    parse_description,
)

# Name of a compression in dataset.json -> its name in TensorFlow.
COMPRESSION_TYPES = {"none": "", "gzip": "GZIP"}


@dataclass(frozen=True)
class DatasetInfo(DatasetDescription):
    """A finished dataset, or one with a fold as its validation split (see `fold_split`)."""

    path: Path  # the directory that has its files
    place: str  # place in the user's words, which is not `path` if that is a copy of a dataset in a bucket
    fold: int = -1  # the fold that validates; -1: the dataset as prepared

    @property
    def transform_fn(self) -> Path:
        """Directory of the SavedModel that turns stored images into normalised pixels."""
        return self.path / "transform_fn"

    @property
    def standardize_fn(self) -> Path:
        """Directory of the SavedModel that turns raw image files into stored images."""
        return self.path / "standardize_fn"

    def paths(self, part: Split | Fold) -> list[Path]:
        """Return the full paths of the shards of a split or fold, in the order of their names."""
        return [self.path / shard.name for shard in part.shards]

    def is_originals_only(self, split: Split) -> bool:
        """Return whether the augmented copies in the shards of a split are passed over."""
        return self.fold >= 0 and split.name == "validation"

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


def require_unchanged(info: DatasetInfo) -> None:
    """Raise UsageError if the dataset is no longer the one that was read: prepare has replaced it since."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        if json.loads((info.path / DATASET_JSON).read_bytes())["fingerprint"] == info.fingerprint:
            return
    raise UsageError(f"--dataset {info.place}: was replaced while it was read; train on it anew, with another --output")


def unfinished(where: str) -> UsageError:
    """Return the error for a place without dataset.json.

    Args:
        where: Option and place, with which the message begins.
    """
    return UsageError(f"{where}: not a finished dataset (no {DATASET_JSON}); run python -m pipelines.prepare again")


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
        description = parse_description(document, where)
    except ValueError as error:
        raise UsageError(f"{where}: {DATASET_JSON} is damaged ({error}); prepare it again") from None
    if len(description.classes) < 2:
        raise UsageError(f"{where}: has {len(description.classes)} class; a classifier needs at least two")
    return DatasetInfo(**vars(description), path=path, place=place)


def fold_split(info: DatasetInfo, fold: int) -> DatasetInfo:
    """Return the dataset for one fold run of cross-validation.

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
        "validation": Split(
            name="validation",
            shards=left_out.shards,
            originals=left_out.originals,
            examples=left_out.originals,
            per_class={
                name: ClassCount(count.originals, count.originals) for name, count in left_out.per_class.items()
            },
        ),
    }
    return replace(info, splits=splits, fold=fold)
