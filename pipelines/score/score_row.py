"""The row that follows one listed file through the score job, and the facts that all rows of a run share."""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipelines.dataset.image_row import REJECTED
from pipelines.dataset.tfrecord import RecordPlace
from pipelines.domain.decision_rule import decision_values, malignancy_scores
from pipelines.domain.model_info import ModelInfo
from pipelines.score.models import Flagging
from pipelines.storage.archive_member import Member

SCORED = "scored"
# Part of the run fingerprint. Change it when the same models give different scores for the same file.
SCORING_VERSION = 1


# Probabilities are summed as integer multiples of this unit: exact sums do not depend on the order of rows.
PROBABILITY_UNIT = 2.0**-40


class ScoreRow(NamedTuple):
    """One listed file of a scoring run.

    It has probabilities if `outcome` is `scored`, and stage, reason and message if it is rejected.
    """

    path: str  # as listed
    relative: str  # path below its input
    image_id: str
    size: int = 0  # bytes
    version: str = ""  # content marker in the listing (checksum, generation or time); empty if the listing has none
    sha256: str = ""  # of the file; empty if it could not be read
    width: int = 0  # pixels, after EXIF orientation
    height: int = 0  # pixels, after EXIF orientation
    probabilities: tuple[float, ...] = ()  # mean over the run's models, in label order
    by_model: tuple[tuple[float, ...], ...] = ()  # probabilities of each model; empty for a single model
    outcome: str = ""
    stage: str = ""
    reason: str = ""
    message: str = ""
    read_seconds: float = 0.0  # this image's share of the reading time
    score_seconds: float = 0.0  # this image's share of the scoring time
    key: bytes = b""  # see `scored_keys.scored_key`
    place: Member | RecordPlace | None = None  # position in an archive or a shard
    read_at: int = 0  # when it was read, in tenths of a second since 1970; 0 if unknown

    def rejected(self, stage: str, reason: str, message: str) -> ScoreRow:
        """Return a copy of this row that is rejected for the given reason."""
        return self._replace(outcome=REJECTED, stage=stage, reason=reason, message=message)


class ScoringRun(NamedTuple):
    """Everything that all rows of a run share."""

    models: tuple[ModelInfo, ...]  # at least one; all have the same classes
    tta: bool  # whether scores are means over the eight flips and quarter turns
    name: str  # of the run's partition
    started: datetime.datetime  # UTC, with time zone
    flagging: Flagging | None = None  # which images to flag; None: no threshold is known

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in label order."""
        return self.models[0].classes

    @property
    def malignant_classes(self) -> tuple[str, ...]:
        """Names of the classes whose probabilities add up to the malignancy score."""
        return self.models[0].malignant_classes

    @property
    def prior(self) -> np.ndarray:
        """Class frequencies that the probabilities assume, float64 [C]; for several models, the mean of theirs."""
        return np.mean([model.prior for model in self.models], axis=0)

    @property
    def fingerprint(self) -> str:
        """64 hex digits over everything that decides a file's scores.

        With an equal fingerprint a file need not be scored again. Flagging follows from the scores and a threshold,
        which is not part of the fingerprint.
        """
        return _fingerprint(tuple(model.fingerprint for model in self.models), self.tta)


@functools.lru_cache
def _fingerprint(models: tuple[str, ...], tta: bool) -> str:
    decides = {"version": SCORING_VERSION, "models": models, "tta": tta}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def top_classes(probabilities: np.ndarray, run: ScoringRun) -> np.ndarray:
    """Return the label of the top class of each row.

    The top class has the largest of the `decision_values`; of equal ones, the first.

    Args:
        probabilities: float [n, C].
        run: The run that the rows belong to.

    Returns:
        int [n].
    """
    return decision_values(probabilities, run.prior).argmax(axis=1)


def top_class(row: ScoreRow, run: ScoringRun) -> str:
    """Return the name of a scored row's top class; see `top_classes`."""
    return run.classes[int(top_classes(np.array([row.probabilities]), run)[0])]


def entropies(probabilities: np.ndarray) -> np.ndarray:
    """Return the Shannon entropy of each row of probabilities, in bits (Shannon 1948).

    Args:
        probabilities: float [n, C].

    Returns:
        float64 [n], from 0 for a model that is certain to log2(C) for one that knows nothing.
    """
    surprise = np.log2(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return np.maximum(0.0, -(probabilities * surprise).sum(axis=1))


def malignancy_score(row: ScoreRow, classes: Sequence[str], malignant: Sequence[str]) -> float:
    """Return the sum of the probabilities of the malignant classes, from 0 to 1.

    Args:
        row: A scored row.
        classes: Names of all classes, in label order.
        malignant: Names of the malignant classes.
    """
    return float(malignancy_scores(np.array([row.probabilities], np.float64), classes, malignant)[0])


def entropy(row: ScoreRow) -> float:
    """Return the entropy of a row's probabilities in bits; see `entropies`."""
    return float(entropies(np.array([row.probabilities], np.float64))[0])
