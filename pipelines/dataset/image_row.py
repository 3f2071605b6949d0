"""Define the row that follows one listed file through prepare.

Rows cross shuffles, images do not.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable
from typing import Any, NamedTuple

from pipelines.domain.dataset_json import SPLITS
from pipelines.domain.labels import Claim
from pipelines.storage.archive_member import Member
from pipelines.storage.packs import Piece

# --on_leakage -> splits in order of preference: an image or group that given splits put on several sides stays on the
# first of these that it is on. Removing from test keeps the training data; removing from train keeps an official test
# set comparable.
SIDES = {"remove_from_test": SPLITS, "remove_from_train": SPLITS[::-1]}


# Outcomes of a listed file. The counts of these four add up to the number of files listed.
WRITTEN = "written"
DUPLICATE = "duplicate"
REJECTED = "rejected"
UNDERSAMPLED = "undersampled"
# Outcome in an audit, which writes no records: prepare would write the file.
USABLE = "usable"
# Outcome of a row that stands for an image of an earlier dataset and for no file; it is in no output.
PAST = "past"
OUTCOMES = (WRITTEN, DUPLICATE, REJECTED, UNDERSAMPLED)
# Reason of rejected files that belong to photographs; a download may have one for each photograph.
MASK = "mask"

# The reason for all that became of an image because a person decided it.
CORRECTED = "corrected"


class Stored(NamedTuple):
    """Place of the encoded images of one image, and the channel sums of its original."""

    file: str  # name of a pack or shard
    # `image/encoded` of the original and of its first copies, in order. Offsets count from the start of the
    # uncompressed file.
    pieces: tuple[Piece, ...]
    sums: tuple[int, ...]  # three channel sums, then three sums of squares; see `images.channel_sums`


class Thumbnail(NamedTuple):
    """Place of the thumbnail of one image."""

    pack: str  # file name
    piece: Piece


class ImageRow(NamedTuple):
    """One listed file; empty strings and zeros stand for what is not known yet."""

    path: str  # as listed
    # Path below its input. It decides every order and choice, so that the location of the archive does not matter.
    relative: str
    member: Member | None = None  # position in an archive
    source: str = ""  # name of the input that the file was found under
    size: int = 0
    image_id: str = ""
    tables: tuple[str, ...] = ()  # names of the metadata tables that know the image
    claims: tuple[Claim, ...] = ()  # classes that folders and tables give the image
    folder_split: str = ""  # split that a folder names, such as Train
    given_split: str = ""  # split to keep, from such a folder, a splits file or a recorded dataset
    given_fold: int = -1  # fold recorded with given_split; -1: none
    label: str = ""
    # What a person has decided about the image; see `corrections`.
    corrected_by: tuple[str, ...] = ()  # the names by which corrections call this file
    correction: str = ""  # keep, drop or relabel; of all files of the image
    old_label: str = ""  # what the image would be without a drop or relabel; several if its sources disagree
    sha256: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    phash: int = 0  # see `perceptual`
    sketch: bytes = b""  # see `perceptual`
    thumbnail: Thumbnail | None = None  # where it lies; see `perceptual`
    quality: tuple[float, ...] = ()  # scores for PIXEL_ISSUES in order; empty if they were not asked for
    issues: tuple[str, ...] = ()  # see `quality_issues`
    # What tables say, each sorted.
    lesion_ids: tuple[str, ...] = ()
    patient_ids: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()
    attributions: tuple[str, ...] = ()
    image_of: str = ""  # path of the file that stands for the image: this one or another
    group_id: str = ""
    split: str = ""
    fold: int = -1  # fold of a train row, from 0; -1: none
    copies: int = 0  # examples written, the original included
    # Encoded image: in a pack or in the dataset that is updated, until the records are written; then in their shard.
    stored: Stored | None = None
    outcome: str = ""
    # Why no record was written.
    stage: str = ""
    reason: str = ""
    message: str = ""

    def __reduce__(self) -> tuple[Callable[[bytes], ImageRow], tuple[bytes]]:
        """Pickle as one flat byte string: a third of the time, because there is no named tuple within it."""
        values: list[Any] = [*self]
        values[_CLAIMS] = [*map(tuple, self.claims)]
        if self.member:
            values[_MEMBER] = tuple(self.member)
        if self.thumbnail:
            values[_THUMBNAIL] = (self.thumbnail.pack, tuple(self.thumbnail.piece))
        if self.stored:
            values[_STORED] = (self.stored.file, [*map(tuple, self.stored.pieces)], self.stored.sums)
        # marshal knows only built-in types and one version of Python, which all workers share.
        return _unpickled, (marshal.dumps(values),)

    def dropped(self, outcome: str, stage: str, reason: str, message: str) -> ImageRow:
        """Return this row as one that becomes no record.

        Args:
            outcome: What became of the file.
            stage: The stage of the job that dropped it.
            reason: A short name that files are counted by.
            message: The explanation for the user.
        """
        return self._replace(outcome=outcome, stage=stage, reason=reason, message=message, split="", fold=-1, copies=0)

    def rejected(self, stage: str, reason: str, message: str) -> ImageRow:
        """Return this row as a rejected one; see `dropped`."""
        return self.dropped(REJECTED, stage, reason, message)


_CLAIMS, _MEMBER, _THUMBNAIL, _STORED = map(ImageRow._fields.index, ("claims", "member", "thumbnail", "stored"))


def _unpickled(packed: bytes) -> ImageRow:
    values = marshal.loads(packed)
    values[_CLAIMS] = tuple(map(Claim._make, values[_CLAIMS]))
    if member := values[_MEMBER]:
        values[_MEMBER] = Member._make(member)
    if thumbnail := values[_THUMBNAIL]:
        values[_THUMBNAIL] = Thumbnail(thumbnail[0], Piece._make(thumbnail[1]))
    if stored := values[_STORED]:
        values[_STORED] = Stored(stored[0], tuple(map(Piece._make, stored[1])), stored[2])
    return ImageRow._make(values)


class Place(NamedTuple):
    """Place of a file: what is needed to open it and to sort it."""

    path: str
    member: Member | None
    relative: str  # the shorter name that files are sorted by


def place_of(row: ImageRow) -> Place:
    """Return where the file of a row is."""
    return Place(row.path, row.member, row.relative)


def fold_name(fold: int) -> str:
    """Return the name of a fold where it is counted beside the splits."""
    return f"fold {fold}"


def parts_of(row: ImageRow) -> list[str]:
    """Return the parts of the dataset that a row counts in: its split, and its fold if it has one."""
    return [row.split] if row.fold < 0 else [row.split, fold_name(row.fold)]


def is_open(row: ImageRow) -> bool:
    """Return whether nothing has been decided about the row yet."""
    return not row.outcome
