"""Match scored images with labelled images by their ids and contents."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from pipelines.cli import UsageError
from trainer.predictions import Predictions, Truth
from trainer.scores import Scores


@dataclass(frozen=True)
class Matching:
    """Counts of the images that `match` matched and of those left over."""

    matched: int  # images with a score and a label
    scored_without_label: int
    labelled_without_score: int
    repeated: int  # further scores of images that have one already
    # Images matched by id although the scored file differs in content from the labelled one; None if contents are
    # unknown.
    other_bytes: int | None


def match(scores: Scores, truth: Truth) -> tuple[Predictions, Matching]:
    """Match labelled images with their scores, in the order of `truth`.

    Ids come first, since the same ISIC id may have other bytes in another download. If an id has several scores, the
    one of the same content counts, else the last, as in the score job's outputs. An id that two labelled images share
    (`1.jpg` in two folders) identifies neither: these images, and those whose id was not scored, are matched by
    content.

    Returns:
        The labelled images that were scored, and counts of what was matched and what was left over.

    Raises:
        UsageError: No image matches.
    """
    by_id: dict[str, list[int]] = {}
    by_content: dict[str, int] = {}
    for row, (name, sha256) in enumerate(zip(scores.image_id, scores.sha256, strict=True)):
        by_id.setdefault(name, []).append(row)
        if sha256:
            by_content[sha256] = row
    shared = {name for name, count in Counter(truth.source_id).items() if count > 1}
    images, rows = [], []
    for image, (name, sha256) in enumerate(zip(truth.source_id, truth.sha256, strict=True)):
        candidates = by_id.get(name, []) if name not in shared else []
        same = [row for row in candidates if sha256 and scores.sha256[row] == sha256]
        found = next(reversed(same or candidates), by_content.get(sha256) if sha256 else None)
        if found is not None:
            images.append(image)
            rows.append(found)
    if not images:
        raise UsageError(
            f"--predictions {scores.path}: none of its {len(scores.image_id)} images is among the "
            f"{len(truth.source_id)} labelled ones (scored are {_some(scores.image_id)}; labelled are "
            f"{_some(truth.source_id)})"
        )
    used, done = set(rows), {truth.source_id[image] for image in images}
    left = [row for row in range(len(scores.image_id)) if row not in used]
    repeated = sum(scores.image_id[row] in done for row in left)
    contents = [(truth.sha256[image], scores.sha256[row]) for image, row in zip(images, rows, strict=True)]
    known = [pair for pair in contents if all(pair)]
    chosen = Truth(
        [truth.source_id[image] for image in images],
        [truth.sha256[image] or scores.sha256[row] for image, row in zip(images, rows, strict=True)],
        [truth.lesion_id[image] for image in images],
        [truth.group_id[image] for image in images],
        truth.labels[np.array(images)],
    )
    matching = Matching(
        matched=len(images),
        scored_without_label=len(left) - repeated,
        labelled_without_score=len(truth.source_id) - len(images),
        repeated=repeated,
        other_bytes=sum(one != other for one, other in known) if known else None,
    )
    return Predictions(chosen, scores.probabilities[np.array(rows)], None, scores.prior, scores.views), matching


def _some(names: list[str]) -> str:
    return ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")
