"""The row that follows one listed file through prepare. Rows cross shuffles, images do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.archives import Member
from pipelines.labels import Claim

SPLITS = ("train", "validation", "test")

# --on_leakage: an image or a group that given splits put on several sides stays on the first of these that it is on.
# Losing test images keeps what is learned from; losing training images keeps an official test set comparable.
SIDES = {"remove_from_test": SPLITS, "remove_from_train": SPLITS[::-1]}

# What became of a listed file. The four add up to the number of files listed.
WRITTEN = "written"
DUPLICATE = "duplicate"
REJECTED = "rejected"
UNDERSAMPLED = "undersampled"
# In an audit, which writes no records: what prepare would write.
USABLE = "usable"
OUTCOMES = (WRITTEN, DUPLICATE, REJECTED, UNDERSAMPLED)


class Stored(NamedTuple):
    """Where the records of an image are: its shard, the offset of each copy in it; sums: see `images.channel_sums`."""

    shard: str
    offsets: tuple[int, ...]
    sums: tuple[int, ...]


class ImageRow(NamedTuple):
    """One listed file. Empty strings and zeros stand for what is not known yet.

    source: the name of the input it was found under. path: as listed; relative: path below its input, used for every
    order and choice, so that the place of the archive does not matter. member: where in an archive. phash, thumbnail:
    see `perceptual`. tables: the metadata files that know the image; claims: what folders and tables say of its class;
    lesion_ids, patient_ids, licenses, attributions: what tables say, sorted. folder_split: the split that a Train/Test
    folder names; given_split: the one that counts, from such a folder, a splits file or a recorded dataset; given_fold:
    the fold recorded with it, or -1. stored: records of the image, in the dataset that is updated until new ones are
    written. image_of: path of the file that
    stands for the image, itself or another. fold: of a train row, from 0; -1: none. copies: examples written, the
    original included. stage, reason, message: why no record was written.
    """

    path: str
    relative: str
    member: Member | None = None
    source: str = ""
    size: int = 0
    image_id: str = ""
    tables: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    folder_split: str = ""
    given_split: str = ""
    given_fold: int = -1
    label: str = ""
    sha256: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    phash: int = 0
    thumbnail: bytes = b""
    lesion_ids: tuple[str, ...] = ()
    patient_ids: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()
    attributions: tuple[str, ...] = ()
    image_of: str = ""
    group_id: str = ""
    split: str = ""
    fold: int = -1
    copies: int = 0
    stored: Stored | None = None
    outcome: str = ""
    stage: str = ""
    reason: str = ""
    message: str = ""

    def dropped(self, outcome: str, stage: str, reason: str, message: str) -> ImageRow:
        """This row as one that becomes no record, and why."""
        return self._replace(outcome=outcome, stage=stage, reason=reason, message=message, split="", fold=-1, copies=0)

    def rejected(self, stage: str, reason: str, message: str) -> ImageRow:
        """This row as a rejected one."""
        return self.dropped(REJECTED, stage, reason, message)


class Place(NamedTuple):
    """Where a file is: what opens it, and the shorter name by which it is sorted."""

    path: str
    member: Member | None
    relative: str


def place_of(row: ImageRow) -> Place:
    """Where the row's file is."""
    return Place(row.path, row.member, row.relative)


def fold_name(fold: int) -> str:
    """What a fold is called where it is counted beside the splits."""
    return f"fold {fold}"


def parts_of(row: ImageRow) -> list[str]:
    """The parts of the dataset that a row counts in: its split, and its fold where it has one."""
    return [row.split] if row.fold < 0 else [row.split, fold_name(row.fold)]


def is_open(row: ImageRow) -> bool:
    """Whether nothing has been decided about the row yet."""
    return not row.outcome


def partition(predicate: Callable[[Any], bool]) -> beam.PTransform:
    """Rows -> (rows for which `predicate` is false, rows for which it is true)."""
    return beam.Partition(lambda row, _: int(predicate(row)), 2)  # type: ignore[arg-type]
