"""What a prepared dataset says about itself: dataset.json, read and checked. Imports no TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.cli import UsageError

SCHEMA_VERSION = 1
COMPRESSIONS = ("none", "gzip")


@dataclass(frozen=True)
class ClassCount:
    """Images of one class in one split: files as listed, and examples as stored (originals and augmented copies)."""

    originals: int
    examples: int


@dataclass(frozen=True)
class Split:
    """One of train, validation, test. `shards` are full paths of TFRecord files, in the order of their names."""

    name: str
    shards: tuple[Path, ...]
    originals: int
    examples: int
    per_class: Mapping[str, ClassCount]


@dataclass(frozen=True)
class DatasetInfo:
    """A finished dataset. `classes[label]` is the name of a label; `folds`: how many the train split is in, 0: none.

    compression: of the shards, one of COMPRESSIONS. aspect: how pictures were made square, one of prepare's `--aspect`.
    encoding: of the stored images, one of prepare's `--encoding`.
    """

    path: Path
    fingerprint: str
    classes: tuple[str, ...]
    malignant_classes: tuple[str, ...]
    image_size: int
    aspect: str
    splits: Mapping[str, Split]
    folds: int = 0
    encoding: str = "jpeg"
    compression: str = "none"

    @property
    def transform_fn(self) -> Path:
        return self.path / "transform_fn"

    @property
    def standardize_fn(self) -> Path:
        return self.path / "standardize_fn"

    def split(self, name: str) -> Split:
        """The split of that name; UsageError if the dataset has none, or it is empty."""
        if name not in self.splits:
            raise UsageError(f"{self.path} has no split '{name}': it has {', '.join(self.splits)}")
        if not self.splits[name].examples:
            way_out = "prepare it with another --split_fractions"
            if name == "validation" and self.folds:
                # What --folds gives unless told otherwise.
                way_out = (
                    f"its {self.folds} folds are for cross-validation; to train once, prepare it without --folds, "
                    "or with --split_fractions 0.8,0.1,0.1 beside them"
                )
            raise UsageError(f"the {name} split of {self.path} is empty: {way_out}")
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
    document = path / "dataset.json"
    if not document.is_file():
        raise UsageError(f"{where}: not a finished dataset (no dataset.json); run python -m pipelines.prepare again")
    try:
        info = _parse(path, json.loads(document.read_text(encoding="utf-8")), where)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{where}: dataset.json is damaged ({type(error).__name__}: {error}); prepare it again"
        ) from None
    needed = [shard for split in info.splits.values() for shard in split.shards]
    needed += [info.transform_fn / "saved_model.pb", info.standardize_fn / "saved_model.pb"]
    missing = [file for file in needed if not file.is_file()]
    if missing:
        raise UsageError(
            f"{where}: {missing[0].relative_to(path)} is missing ({len(missing)} in all); prepare it again"
        )
    return info


def _parse(path: Path, values: Mapping[str, Any], where: str) -> DatasetInfo:
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
    if compression not in COMPRESSIONS:
        raise ValueError(f"compression {compression!r}")
    return DatasetInfo(
        path=path,
        fingerprint=str(values["fingerprint"]),
        classes=classes,
        malignant_classes=tuple(map(str, values["malignant_classes"])),
        image_size=int(values["image_size"]),
        aspect=str(values["aspect"]),
        splits={
            name: _parse_split(path, name, values["splits"][name], classes) for name in ("train", "validation", "test")
        },
        folds=len(values["splits"]["train"].get("folds", ())),
        compression=compression,
        encoding=str(values.get("encoding", {}).get("format", "jpeg")),
    )


def _parse_split(path: Path, name: str, values: Mapping[str, Any], classes: tuple[str, ...]) -> Split:
    counts = values["per_class"]
    none = {"originals": 0, "examples": 0}
    return Split(
        name=name,
        shards=tuple(path / name for name in sorted(shard["name"] for shard in values["shards"])),
        originals=int(values["originals"]),
        examples=int(values["examples"]),
        per_class={
            cls: ClassCount(int(counts.get(cls, none)["originals"]), int(counts.get(cls, none)["examples"]))
            for cls in classes
        },
    )
