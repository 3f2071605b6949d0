"""The row that follows one listed file through prepare. Rows cross shuffles, images do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.archives import Member
from pipelines.labels import Claim

SPLITS = ("train", "validation", "test")

# What became of a listed file. The four add up to the number of files listed.
WRITTEN = "written"
DUPLICATE = "duplicate"
REJECTED = "rejected"
UNDERSAMPLED = "undersampled"
OUTCOMES = (WRITTEN, DUPLICATE, REJECTED, UNDERSAMPLED)


class ImageRow(NamedTuple):
    """One listed file. Empty strings and zeros stand for what is not known yet.

    path: as listed; relative: path below its input, used for every order and choice, so that the place of the
    archive does not matter. member: where in an archive. source: the name of the input. phash, thumbnail: see
    `perceptual`. tables: the metadata files that know the image; claims: what folders and tables say of its class;
    lesion_ids, patient_ids, licenses, attributions: what tables say, sorted. given_split: the split that a Train/Test
    folder or a splits file names. copies: examples written, the original included. stage, reason, message: why no
    record was written.
    """

    path: str
    relative: str
    member: Member | None = None
    source: str = ""
    size: int = 0
    image_id: str = ""
    tables: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    given_split: str = ""
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
    group_id: str = ""
    split: str = ""
    copies: int = 0
    outcome: str = ""
    stage: str = ""
    reason: str = ""
    message: str = ""

    def dropped(self, outcome: str, stage: str, reason: str, message: str) -> ImageRow:
        """This row as one that becomes no record, and why."""
        return self._replace(outcome=outcome, stage=stage, reason=reason, message=message, split="", copies=0)

    def rejected(self, stage: str, reason: str, message: str) -> ImageRow:
        """This row as a rejected one."""
        return self.dropped(REJECTED, stage, reason, message)


def is_open(row: ImageRow) -> bool:
    """Whether nothing has been decided about the row yet."""
    return not row.outcome


def partition(predicate: Callable[[Any], bool]) -> beam.PTransform:
    """Rows -> (rows for which `predicate` is false, rows for which it is true)."""
    return beam.Partition(lambda row, _: int(predicate(row)), 2)  # type: ignore[arg-type]
