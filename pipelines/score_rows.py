"""The row that follows one listed file through the score job, and what all rows of a run have in common."""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipelines.archives import Member
from pipelines.flagging import Flagging
from pipelines.model_info import ModelInfo
from pipelines.operating_point import malignancy_scores
from pipelines.rows import REJECTED
from pipelines.tfrecord import RecordPlace

SCORED = "scored"
# Part of the run fingerprint: another number when the same models give other scores for the same file.
SCORING_VERSION = 1


class ScoreRow(NamedTuple):
    """One listed file: with probabilities when `outcome` is `scored`, with stage, reason and message when rejected.

    path: as listed; relative: below its input. size in bytes; version: what else the listing says of the content
    (checksum, generation or time), empty where it says nothing. sha256: of the file; empty when it could not be read.
    width, height in pixels, after EXIF orientation. probabilities: the mean over the run's models, in label order;
    by_model: those of each model, where there are several. read_seconds, score_seconds: this image's share of the time.
    key: see `seen.seen_key`. place: where in an archive or a shard it lies.
    """

    path: str
    relative: str
    image_id: str
    size: int = 0
    version: str = ""
    sha256: str = ""
    width: int = 0
    height: int = 0
    probabilities: tuple[float, ...] = ()
    by_model: tuple[tuple[float, ...], ...] = ()
    outcome: str = ""
    stage: str = ""
    reason: str = ""
    message: str = ""
    read_seconds: float = 0.0
    score_seconds: float = 0.0
    key: bytes = b""
    place: Member | RecordPlace | None = None

    def rejected(self, stage: str, reason: str, message: str) -> ScoreRow:
        """This row as one without a score, and why."""
        return self._replace(outcome=REJECTED, stage=stage, reason=reason, message=message)


class ScoringRun(NamedTuple):
    """What all rows of a run share. models: at least one, all with the same classes; tta: whether scores are means over
    the eight flips and quarter turns; name: of the run's partition; started: UTC, with time zone; flagging: which
    images are flagged, None where nobody said."""

    models: tuple[ModelInfo, ...]
    tta: bool
    name: str
    started: datetime.datetime
    flagging: Flagging | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in label order."""
        return self.models[0].classes

    @property
    def malignant_classes(self) -> tuple[str, ...]:
        """Those whose probabilities make up the malignancy score."""
        return self.models[0].malignant_classes

    @property
    def fingerprint(self) -> str:
        """64 hex digits: of all that decides a file's scores. Equal fingerprints: no need to score a file again.

        What is flagged follows from the scores and a threshold, which is no part of it.
        """
        return _fingerprint(tuple(model.fingerprint for model in self.models), self.tta)


@functools.lru_cache
def _fingerprint(models: tuple[str, ...], tta: bool) -> str:
    decides = {"version": SCORING_VERSION, "models": models, "tta": tta}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def top_class(row: ScoreRow, classes: Sequence[str]) -> str:
    """The class with the highest probability; of equal ones the first."""
    return classes[int(np.argmax(row.probabilities))]


def entropies(probabilities: np.ndarray) -> np.ndarray:
    """Shannon entropy of each row of probabilities [n, C] in bits, float64 [n]: 0 for a sure model, log2(C) for one
    that knows nothing (Shannon 1948)."""
    surprise = np.log2(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return np.maximum(0.0, -(probabilities * surprise).sum(axis=1))


def malignancy_score(row: ScoreRow, classes: Sequence[str], malignant: Sequence[str]) -> float:
    """Sum of the probabilities of the malignant classes, 0 to 1."""
    return float(malignancy_scores(np.array([row.probabilities], np.float64), classes, malignant)[0])


def entropy(row: ScoreRow) -> float:
    """Entropy of the row's probabilities in bits; see `entropies`."""
    return float(entropies(np.array([row.probabilities], np.float64))[0])
