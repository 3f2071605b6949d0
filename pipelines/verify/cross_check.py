"""Check the records of all shards against the manifest: no leaks, and every copy of every image exactly once.

Memory: about 0.8 KB for each written image (its names, and where its group and lesion were first seen) and one byte for
each record.
"""

from __future__ import annotations

import bisect
import re
import sys
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from pipelines.common.cli import CheckFailed
from pipelines.dataset.image_row import CORRECTED, OUTCOMES, UNDERSAMPLED, WRITTEN, ImageRow, fold_name
from pipelines.dataset.manifest import LIST_SEPARATOR
from pipelines.domain.dataset_json import SPLITS, Shard
from pipelines.verify.known_check import KnownImages, look_of
from pipelines.verify.shard_check import RecordFacts, at

SHA256 = re.compile(r"[0-9a-f]{64}")


def part_name(split: str, fold: int) -> str:
    """Return the name of a part of the dataset; no two parts may share an image.

    Args:
        split: The name of the split.
        fold: A fold of the split; negative for the split as a whole.
    """
    return split if fold < 0 else f"{split}, {fold_name(fold)}"


def row_problem(row: ImageRow) -> str:
    """Return what is inconsistent within a row of the manifest.

    Args:
        row: The row.

    Returns:
        The first problem; empty if there is none.
    """
    if row.outcome not in OUTCOMES:
        return f"its outcome is {row.outcome!r}"
    if row.outcome != WRITTEN:
        # An undersampled image keeps its split, because a later update may write it.
        placed = (row.split or row.fold >= 0) and row.outcome != UNDERSAMPLED
        if placed or row.copies:
            return f"outcome {row.outcome}, but in split {row.split or 'none'} with {row.copies} copies"
        return "" if row.reason else f"outcome {row.outcome} without a reason"
    if row.reason != (CORRECTED if row.correction else ""):
        return f"written, but with the reason {row.reason or 'none'}"
    if row.split not in SPLITS:
        return f"written, but its split is {row.split or 'none'}"
    if row.fold >= 0 and row.split != "train":
        return f"in fold {row.fold}, but its split is {row.split}"
    if row.copies < 1 or (row.copies > 1 and row.split != "train"):
        return f"{row.copies} copies in {row.split}"
    return ""


class _Image(NamedTuple):
    """The fields of a written row of the manifest that records repeat."""

    image_id: str
    label: str
    group_id: str
    lesions: str  # all lesion ids, joined as in the manifest
    split: str
    fold: int


class CrossCheck:
    """A check of all records against the manifest.

    Call `add_row` for every row of the manifest, then `add_shard` for every shard in order, then `close`.

    A leak raises immediately. Other differences from the manifest wait for `close`: if a record was moved to another
    split, the leak is the message that matters.
    """

    def __init__(self) -> None:
        self._row_of: dict[bytes, int] = {}
        self._images: list[_Image] = []
        self._copies = array("q")
        self._looks = array("Q")
        # One byte for each copy of each image: 1 once a record holds it. Copy 0 of row r is at starts[r].
        self._starts = array("q")
        self._seen = bytearray()
        self._shards: list[Shard] = []
        # Where a value was first seen, as shard << 32 | record. Images are indexed by row; -1 means not seen yet.
        self._images_at = array("q")
        self._names_at: dict[str, dict[str, int]] = {"group": {}, "lesion": {}}
        self._difference = ""

    def add_row(self, where: str, row: ImageRow) -> None:
        """Add a row of the manifest.

        Args:
            where: How messages refer to the row.
            row: The row.

        Raises:
            CheckFailed: The row is inconsistent, or its image was added before.
        """
        if problem := row_problem(row):
            raise CheckFailed(f"{where}: {problem}")
        if row.outcome != WRITTEN:
            return
        if not SHA256.fullmatch(row.sha256):
            raise CheckFailed(f"{where}: written, but its sha256 is {row.sha256!r}")
        number = self._row_of.setdefault(bytes.fromhex(row.sha256), len(self._images))
        if number != len(self._images):
            raise CheckFailed(f"{where}: its image is written already, as {self._images[number].image_id}")
        # Intern these two strings: few distinct values are shared by many rows.
        label, split = sys.intern(row.label), sys.intern(row.split)
        lesions = LIST_SEPARATOR.join(row.lesion_ids)
        self._images.append(_Image(row.image_id, label, row.group_id, lesions, split, row.fold))
        self._copies.append(row.copies)
        self._looks.append(look_of(row))
        self._starts.append(len(self._seen))
        self._seen.extend(bytes(row.copies))
        self._images_at.append(-1)

    def add_shard(self, shard: Shard, facts: Sequence[RecordFacts]) -> None:
        """Add the records of a shard.

        Args:
            shard: The shard as dataset.json lists it.
            facts: One entry per record, in the order of the shard.

        Raises:
            CheckFailed: An image, group or lesion is also in another split or fold.
        """
        shard_number = len(self._shards)
        self._shards.append(shard)
        for index, fact in enumerate(facts):
            row = self._row_of.get(fact.sha256)
            problem = self._leak(shard_number << 32 | index, fact, row)
            if problem:
                raise CheckFailed(f"{at(shard.name, index, fact.offset)}: {problem} ({fact.image_id})")
            problem = self._compare(shard, fact, row)
            if problem and not self._difference:
                self._difference = f"{at(shard.name, index, fact.offset)}: {problem} ({fact.image_id})"

    def is_written(self, sha256: str) -> bool:
        """Return whether a row of the manifest has the image with this content hash, and is written."""
        return bool(SHA256.fullmatch(sha256)) and bytes.fromhex(sha256) in self._row_of

    def known_problem(self, known: KnownImages) -> str:
        """Return how a file of known images differs from the manifest; empty if it does not."""
        for sha256, look in known.looks.items():
            row = self._row_of.get(sha256)
            if row is None or self._looks[row] != look:
                return f"{known.name}: says something else of image {sha256.hex()} than the manifest"
        return ""

    def close(self) -> None:
        """Finish the check.

        Raises:
            CheckFailed: A record differs from its row of the manifest, or no record holds a copy. The first such
                difference is named.
        """
        if self._difference:
            raise CheckFailed(self._difference)
        missing = self._seen.find(0)
        if missing >= 0:
            row = bisect.bisect_right(self._starts, missing) - 1
            image = self._images[row]
            raise CheckFailed(
                f"no record holds copy {missing - self._starts[row]} of {image.image_id}, of which the manifest has "
                f"{self._copies[row]} in {image.split}"
            )

    def _leak(self, place: int, fact: RecordFacts, row: int | None) -> str:
        """Return which image, group or lesion of the record is also in another part of the dataset; empty if none."""
        lesions = [fact.lesion_id]
        if row is not None:
            first = self._images_at[row]
            if first < 0:
                self._images_at[row] = place
            elif problem := self._across(place, first, "its image"):
                return problem
            if self._images[row].lesions.startswith(fact.lesion_id + LIST_SEPARATOR):
                # A record names only the first of several lesions. The others must not be in another part either.
                lesions = self._images[row].lesions.split(LIST_SEPARATOR)
        for kind, names in (("group", [fact.group_id]), ("lesion", lesions)):
            for name in filter(None, names):
                first = self._names_at[kind].setdefault(name, place)
                if problem := self._across(place, first, f"{kind} {name!r}"):
                    return problem
        return ""

    def _across(self, place: int, first: int, what: str) -> str:
        shard, other = self._shards[place >> 32], self._shards[first >> 32]
        if (shard.split, shard.fold) == (other.split, other.fold):
            return ""
        parts = f"{part_name(shard.split, shard.fold)} and in {part_name(other.split, other.fold)}"
        return f"{what} is in {parts} ({other.name}: record {first & 0xFFFFFFFF})"

    def _compare(self, shard: Shard, fact: RecordFacts, row: int | None) -> str:
        """Mark the record's copy as seen and return how the record differs from the manifest; empty if it does not."""
        if row is None:
            return f"no written row of the manifest has its image, {fact.sha256.hex()}"
        image = self._images[row]
        if shard.split != image.split:
            return f"lies in {shard.split}, the manifest says {image.split}"
        for key, found, said in (
            ("image/source_id", fact.image_id, image.image_id),
            ("image/class/text", fact.label, image.label),
            ("image/fold", fact.fold, image.fold),
            ("image/group_id", fact.group_id, image.group_id),
        ):
            if found != said:
                return f"{key} is {found!r}, the manifest says {said!r}"
        if not f"{image.lesions}{LIST_SEPARATOR}".startswith(f"{fact.lesion_id}{LIST_SEPARATOR}"):
            return f"image/lesion_id is {fact.lesion_id!r}, the manifest says {image.lesions!r}"
        if not 0 <= fact.copy < self._copies[row]:
            return f"image/augmentation/copy is {fact.copy}, the manifest has {self._copies[row]} copies of the image"
        position = self._starts[row] + fact.copy
        if self._seen[position]:
            return f"copy {fact.copy} of the image is in the dataset twice"
        self._seen[position] = 1
        return ""
