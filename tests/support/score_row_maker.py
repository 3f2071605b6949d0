"""Score rows and runs for tests: any number of them, the same each time."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.domain.decision_rule import EIGHT_VIEWS, ONE_VIEW
from pipelines.domain.diagnoses import CLASS_SETS
from pipelines.domain.model_info import ModelInfo
from pipelines.domain.taxonomy import malignant_classes
from pipelines.score.models import Flagging
from pipelines.score.score_row import SCORED, ScoreRow, ScoringRun

STARTED = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC)


def scoring_run(
    classes: Sequence[str] = CLASS_SETS["isic9"],
    models: int = 1,
    name: str = "2026-01-02",
    tta: bool = False,
    threshold: float | None = 0.5,
    malignant: Sequence[str] | None = None,
    prior: tuple[float, ...] = (),
) -> ScoringRun:
    """A run of `models` models that differ in their fingerprints.

    threshold: of its flags, None for none; malignant: those of the taxonomy, if not given; prior: the class frequencies
    that probabilities stand for, equal ones if not given.
    """
    infos = tuple(
        ModelInfo(
            path=f"models/{number}",
            classes=tuple(classes),
            malignant_classes=tuple(malignant_classes(classes) if malignant is None else malignant),
            image_size=180,
            aspect="crop",
            encoding="jpeg",
            split="train",
            fold=-1,
            fingerprint=hashlib.sha256(f"model {number}".encode()).hexdigest(),
            weights_fingerprint="e" * 64,
            dataset_fingerprint="d" * 64,
            files={},
            network={},
            train_distribution={name: 1 / len(classes) for name in classes},
            metrics={},
            calibration={
                "prior": dict(zip(classes, prior, strict=True)) if prior else dict.fromkeys(classes, 1 / len(classes))
            },
            operating_points={ONE_VIEW: (), EIGHT_VIEWS: ()},
        )
        for number in range(models)
    )
    return ScoringRun(infos, tta, name, STARTED, None if threshold is None else Flagging(threshold))


def score_row(path: str, run: ScoringRun, **fields: Any) -> ScoreRow:
    """A scored row with probabilities of its own, decided by its path."""
    sha256 = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()
    draws = np.random.default_rng(int(sha256[:16], 16))
    single = draws.dirichlet(np.full(len(run.classes), 0.3), len(run.models)).astype(np.float32)
    row = ScoreRow(
        path=path,
        relative=path,
        image_id=path.rpartition("/")[2].rpartition(".")[0] or path,
        size=int(draws.integers(1, 10**7)),
        version=sha256[:22] + "==",
        sha256=sha256,
        width=600,
        height=450,
        probabilities=tuple(single.mean(axis=0).tolist()),
        by_model=tuple(map(tuple, single.tolist())) if len(run.models) > 1 else (),
        outcome=SCORED,
        read_seconds=float(draws.random()),
        score_seconds=float(draws.random()),
    )
    return row._replace(**fields)


# What file names, tables and shells find hard.
HOSTILE_PATHS = (
    "a,b.jpg",
    'say "cheese".jpg',
    "two\nlines.jpg",
    "carriage\rreturn\r\n.jpg",
    " spaces around .jpg",
    "not utf-8 \udcff\udc80.jpg",
    "nul \0 in it.jpg",
    "=HYPERLINK(1).jpg",
    "line\u2028separator.jpg",
    "na\u00efve \u76ae\u819a \U0001f600.jpg",
    "NA",
    "'",
    "back\\slash\\x00.jpg",
    "gs://bucket/0001.jpg",
)
