"""Match labelled images with the files that were scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipelines.common.cli import UsageError
from pipelines.domain.image_ids import composed, image_id_of, isic_id_of
from trainer.evaluate.predictions import GroundTruth, Predictions
from trainer.evaluate.stored_predictions import StoredPredictions

# Maximum number of ids that are named.
_NAMED = 5


@dataclass(frozen=True)
class MatchCounts:
    """Counts of the images that `match_labels` matched and of those left over."""

    matched: int  # images with a score and a label
    scored_without_label: int
    labelled_without_score: int
    repeated: int  # further scores of images that have one already
    # Images matched by id although the scored file differs in content from the labelled one; None if contents are
    # unknown.
    other_bytes: int | None
    shared_ids: int  # labelled ids that several scored files share, so that no score counts
    first_shared_ids: list[str]  # some of them


class _Place(NamedTuple):
    """A path, for comparison with paths that begin elsewhere."""

    parts: tuple[str, ...]  # the last one is the image's id
    name: str

    def is_same_file(self, other: _Place) -> bool:
        """Return whether one of two paths ends with the other."""
        length = min(len(self.parts), len(other.parts))
        return self.parts[-length:] == other.parts[-length:]


def _place(path: str) -> _Place | None:
    """Return a path's place; None if it is no more than a name."""
    *folders, name = [part for part in composed(path).replace("\\", "/").split("/") if part not in ("", ".")] or [""]
    return _Place((*folders, image_id_of(name)), name) if folders else None


class _ScoredFiles:
    """The rows of scored files by id, by content and by path. Of several rows of one file, the last counts."""

    def __init__(self, stored: StoredPredictions):
        self._stored = stored
        self._paths = list(stored.files) or [""] * len(stored.image_id)
        self._places = [_place(path) for path in self._paths]
        self._by_id: dict[str, list[int]] = {}
        self._by_content: dict[str, int] = {}
        self._by_tail: dict[tuple[str, ...], list[int]] = {}
        for row, (name, sha256, place) in enumerate(zip(stored.image_id, stored.sha256, self._places, strict=True)):
            self._by_id.setdefault(name, []).append(row)
            if sha256:
                self._by_content[sha256] = row
            if place:
                self._by_tail.setdefault(place.parts[-2:], []).append(row)

    def with_id(self, name: str) -> list[int]:
        return self._by_id.get(name, [])

    def with_content(self, sha256: str) -> int | None:
        return self._by_content.get(sha256)

    def are_one_file(self, rows: Iterable[int]) -> bool:
        """Return whether rows are of one file, or of files with the same content."""
        rows = list(rows)
        contents = {self._stored.sha256[row] for row in rows}
        return len({self._paths[row] for row in rows} - {""}) < 2 or (len(contents) == 1 and "" not in contents)

    def at(self, place: _Place) -> list[int]:
        """Return the rows of the files at a path; those with its very name, if there are any."""
        found = []
        for row in self._by_tail.get(place.parts[-2:], ()):
            other = self._places[row]
            if other and other.is_same_file(place):
                found.append(row)
        return [row for row in found if self._places[row].name == place.name] or found  # type: ignore[union-attr]

    def may_be(self, row: int, place: _Place | None) -> bool:
        """Return whether the file of a row may be the image at a path, which begins elsewhere.

        An ISIC id says that by itself; of other names, the folder must agree.
        """
        other = self._places[row]
        return not place or not other or bool(isic_id_of(place.name)) or place.parts[-2:] == other.parts[-2:]


def match_labels(stored: StoredPredictions, truth: GroundTruth) -> tuple[Predictions, MatchCounts]:
    """Match labelled images with their scores, in the order of `truth`.

    A file of the same id and content counts first, then the file at the image's path, then the only file of the same
    id: the same ISIC id may have other bytes in another download. Of several scores of a file, the last counts. An id
    that two labelled images share (`1.jpg` in two folders), or two scored files, identifies neither. Images that are
    left are matched by content.

    Returns:
        The labelled images that were scored, and counts of what was matched and what was left over.

    Raises:
        UsageError: No image matches.
    """
    files = _ScoredFiles(stored)
    labelled_twice = {name for name, count in Counter(truth.source_id).items() if count > 1}
    shared: dict[str, None] = {}
    images, rows = [], []
    paths = truth.path or [""] * len(truth.source_id)
    for image, (name, sha256, path) in enumerate(zip(truth.source_id, truth.sha256, paths, strict=True)):
        place = _place(path)
        candidates = files.with_id(name)
        same_content = [row for row in candidates if sha256 and stored.sha256[row] == sha256]
        at_path = files.at(place) if place else []
        found = None
        if same_content and name not in labelled_twice:
            found = same_content[-1]
        elif at_path and files.are_one_file(at_path):
            found = at_path[-1]
        elif candidates and name not in labelled_twice:
            if not files.are_one_file(candidates):
                shared[name] = None
            elif files.may_be(candidates[-1], place):
                found = candidates[-1]
        if found is None and sha256:
            found = files.with_content(sha256)
        if found is not None:
            images.append(image)
            rows.append(found)
    if not images:
        why = f"; {shared_ids_named(len(shared), list(shared))}" if shared else ""
        raise UsageError(
            f"--predictions {stored.path}: none of its {len(stored.image_id)} images is among the "
            f"{len(truth.source_id)} labelled ones (scored are {_some(stored.image_id)}; labelled are "
            f"{_some(truth.source_id)}){why}"
        )
    used, done = set(rows), {truth.source_id[image] for image in images}
    left = [row for row in range(len(stored.image_id)) if row not in used]
    repeated = sum(stored.image_id[row] in done for row in left)
    contents = [(truth.sha256[image], stored.sha256[row]) for image, row in zip(images, rows, strict=True)]
    known = [pair for pair in contents if all(pair)]
    chosen = GroundTruth(
        [truth.source_id[image] for image in images],
        [truth.sha256[image] or stored.sha256[row] for image, row in zip(images, rows, strict=True)],
        [truth.lesion_id[image] for image in images],
        [truth.group_id[image] for image in images],
        truth.labels[np.array(images)],
        truth.vague,
    )
    match_counts = MatchCounts(
        matched=len(images),
        scored_without_label=len(left) - repeated,
        labelled_without_score=len(truth.source_id) - len(images),
        repeated=repeated,
        other_bytes=sum(one != other for one, other in known) if known else None,
        shared_ids=len(shared),
        first_shared_ids=list(shared)[:_NAMED],
    )
    return Predictions(chosen, stored.probabilities[np.array(rows)], None, stored.prior, stored.views), match_counts


def shared_ids_named(count: int, first: Sequence[str]) -> str:
    """Say how many ids decide nothing because several scored files share them, and name some."""
    more = ", ..." if count > len(first[:_NAMED]) else ""
    ids = "1 id" if count == 1 else f"{count} ids"
    return f"several scored files share {ids} ({', '.join(first[:_NAMED])}{more}); name their paths in --labels"


def _some(names: list[str]) -> str:
    return ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")
