"""Tell apart files that share an id and do not look alike: masks, and different pictures under one id.

Two files are one image only if their pixels agree. Sharing an id makes that likely, so hash and sketch decide, which
rows have, and no thumbnail is read: all of 617 pairs of files with one ISIC id lie within 4 bits and a fiftieth of the
sketch's limit, and of a million pairs with different ids, 26 lie within these limits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pipelines.curation.corrections import DROP, is_taken
from pipelines.curation.masks import is_no_photograph
from pipelines.dataset.image_row import CORRECTED, MASK, ImageRow
from pipelines.domain.image_ids import isic_id_of
from pipelines.imaging import perceptual

ID_CONFLICT = "id_conflict"
# Half as much again as the search for near-duplicates allows: here two files share an id already, and a copy that was
# changed must not be rejected lightly.
MAX_HASH_DISTANCE = 12


class _Union:
    """Disjoint sets of positions."""

    def __init__(self, count: int):
        self._parents = list(range(count))

    def find(self, one: int) -> int:
        while self._parents[one] != one:
            self._parents[one] = self._parents[self._parents[one]]
            one = self._parents[one]
        return one

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self.find(one), self.find(other)))
        self._parents[second] = first

    def sets(self) -> list[list[int]]:
        found: dict[int, list[int]] = defaultdict(list)
        for one in range(len(self._parents)):
            found[self.find(one)].append(one)
        return list(found.values())


def _alike(rows: Sequence[ImageRow]) -> list[list[ImageRow]]:
    """Return the rows in sets whose pictures look alike, directly or through others."""
    pictures = list({row.sha256: row for row in rows}.values())
    sketches = np.array([np.frombuffer(row.sketch, np.int8) for row in pictures])
    union = _Union(len(pictures))
    for later in range(1, len(pictures)):
        distances = perceptual.sketch_distances(sketches[later : later + 1], sketches[:later])[0]
        for earlier in np.nonzero(distances <= perceptual.SKETCH_LIMIT)[0].tolist():
            distance = perceptual.hash_distance(pictures[later].phash, pictures[earlier].phash)
            if distance <= MAX_HASH_DISTANCE:
                union.join(earlier, later)
    looks = {pictures[one].sha256: number for number, ones in enumerate(union.sets()) for one in ones}
    found: dict[int, list[ImageRow]] = defaultdict(list)
    for row in rows:
        found[looks[row.sha256]].append(row)
    return list(found.values())


def _images(rows: Sequence[ImageRow]) -> list[list[ImageRow]]:
    """Return the rows in sets that share their bytes or their ISIC id, directly or through others."""
    union = _Union(len(rows))
    first: dict[str, int] = {}
    for one, row in enumerate(rows):
        for key in filter(None, (row.sha256, isic_id_of(row.relative))):
            union.join(first.setdefault(key, one), one)
    return [[rows[one] for one in ones] for ones in union.sets()]


class Separated(NamedTuple):
    """The files of what seemed to be one image."""

    images: list[list[ImageRow]]  # sets of open rows, each of one image
    rejected: list[ImageRow]


def separate(rows: Iterable[ImageRow]) -> Separated:
    """Separate the files of one image, by id or bytes, from others that only share its id.

    A picture that is no photograph (see `masks`) and looks like none of the photographs is a `mask`. If what remains
    does not look alike, nothing tells which file the id stands for, so all are rejected as `id_conflict`, unless
    corrections tell.

    Args:
        rows: Rows that share their bytes or their ISIC id, directly or through others.
    """
    ordered = sorted(rows, key=lambda row: (row.relative, row.path))
    if len({row.sha256 for row in ordered}) == 1:
        return Separated([ordered], [])
    looks = _alike(ordered)
    if len(looks) == 1:
        return Separated([ordered], [])
    masks = [row for look in looks if all(map(is_no_photograph, look)) for row in look]
    if len(masks) == len(ordered):  # one of them may be a grey photograph
        masks = []
    taken = {row.path for row in masks}
    images: list[list[ImageRow]] = []
    rejected: list[ImageRow] = []
    # A mask may have joined photographs that have nothing to do with each other.
    for image in _images([row for row in ordered if row.path not in taken]):
        decided = _decide(_alike(image))
        images.extend(decided.images)
        rejected.extend(decided.rejected)
    rejected.extend(_masks(masks, ordered, taken))
    return Separated(images, rejected)


def _decide(looks: Sequence[list[ImageRow]]) -> Separated:
    """Decide which of several pictures an id stands for: the one that no correction drops, or that one takes."""
    dropped = [look for look in looks if any(row.correction == DROP for row in look)]
    left = [look for look in looks if look not in dropped]
    taken = [look for look in left if any(map(is_taken, look))]
    if len(left) <= 1:
        return Separated([*dropped, *left], [])
    if len(taken) == 1:
        others = [row for look in left if look is not taken[0] for row in look]
        return Separated([*dropped, *taken], list(_outranked(others, taken[0][0])))
    several = "; --corrections takes several of them" if taken else ""
    return Separated(dropped, list(_conflicting([row for look in left for row in look], several)))


def _masks(masks: Iterable[ImageRow], rows: Sequence[ImageRow], taken: set[str]) -> Iterator[ImageRow]:
    photographs = [row for row in rows if row.path not in taken]
    for row in masks:
        isic_id = isic_id_of(row.relative)
        owner = next((other for other in photographs if isic_id_of(other.relative) == isic_id), photographs[0])
        rejected = row.rejected("identify", MASK, f"a mask, no photograph: it has the id of {owner.relative}")
        yield rejected._replace(image_of=owner.path)


def _each_an_image(rows: Iterable[ImageRow]) -> Iterator[ImageRow]:
    """Let each picture of rejected rows be an image, so that all of them link others."""
    stands: dict[str, str] = {}
    for row in rows:
        yield row._replace(image_of=stands.setdefault(row.sha256, row.path))


def _outranked(rows: Iterable[ImageRow], taken: ImageRow) -> Iterator[ImageRow]:
    message = f"another picture than {taken.relative}, which --corrections takes for their id"
    return _each_an_image(row.rejected("correct", CORRECTED, message) for row in rows)


def _conflicting(rows: Iterable[ImageRow], more: str) -> Iterator[ImageRow]:
    """Reject the files of a conflict, with one message."""
    ordered = sorted(rows, key=lambda row: (row.relative, row.path))
    message = f"different pictures have one id: {', '.join(row.relative for row in ordered[:4])}{more}"
    return _each_an_image(row.rejected("identify", ID_CONFLICT, message) for row in ordered)
