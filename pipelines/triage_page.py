"""The triage report of a run of `pipelines.score`: the images to look at first, charts of all scores, rejects.

Bounded for any archive: names and messages are cut to TEXT characters, and an image shows at most BARS classes. With
pictures of `triage_pictures`, class names of up to 40 characters and up to ten reasons of rejects, a page of N images
is smaller than N * IMAGE_BYTES + PAGE_BYTES, whatever the images are and however they are called. Ordinary images take
about 11 kB each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipelines.html import Section, render
from pipelines.operating_point import flags
from pipelines.score_rows import ScoreRow, ScoringRun, entropy, malignancy_score, top_class
from pipelines.sources import printable
from pipelines.triage import BINS, Triage

TEXT = 200
BARS = 12
IMAGE_BYTES = 50_000
PAGE_BYTES = 3_000_000
# Filters; edges of the histogram's bins, so that it counts all images of the run that pass.
THRESHOLDS = (0.1, 0.25, 0.5, 0.75, 0.9)
# Figures of a model that are shown for each split.
_METRICS = 12


def clipped(text: str) -> str:
    """The text, or its beginning and an ellipsis: at most TEXT characters."""
    return text if len(text) <= TEXT else text[: TEXT - 1] + "…"


def clipped_path(path: str) -> str:
    """A path for showing, see `sources.printable`; a long one loses its beginning, as its end tells more."""
    shown = printable(path)
    return shown if len(shown) <= TEXT else "…" + shown[1 - TEXT :]


class ClassBar(NamedTuple):
    """A class's probability; low, high: the least and most that any model of an ensemble gives it."""

    name: str
    malignant: bool
    probability: float
    low: float
    high: float


class Card(NamedTuple):
    """One image. label: number of its top class; level: how many of THRESHOLDS it reaches; low, high: malignancy scores
    of the models that differ most; flagged: whether the score reaches the run's threshold; thumbnail, overlay: JPEGs or
    None."""

    path: str
    image_id: str
    label: int
    top_class: str
    level: int
    score: float
    low: float
    high: float
    flagged: bool
    entropy: float
    bars: list[ClassBar]
    thumbnail: bytes | None
    overlay: bytes | None


class Choice(NamedTuple):
    """A filter's choice; shown, scored: how many images pass it, on the page and in the run."""

    id: str
    name: str
    shown: int
    scored: int


class Bin(NamedTuple):
    """A bar of a histogram: its range, and the number of images in each part of it."""

    low: float
    high: float
    parts: list[int]


def make_card(run: ScoringRun, row: ScoreRow, pictures: tuple[bytes | None, bytes | None]) -> Card:
    """What the page shows of a scored row."""
    classes, malignant = run.classes, run.malignant_classes
    by_model = row.by_model or (row.probabilities,)
    scores = [malignancy_score(row._replace(probabilities=values), classes, malignant) for values in by_model]
    most = sorted(range(len(classes)), key=lambda index: -row.probabilities[index])[:BARS]
    score = malignancy_score(row, classes, malignant)
    return Card(
        path=clipped_path(row.path),
        image_id=clipped(row.image_id),
        label=classes.index(top_class(row, classes)),
        top_class=top_class(row, classes),
        level=sum(score >= threshold for threshold in THRESHOLDS),
        score=score,
        low=min(scores),
        high=max(scores),
        flagged=run.flagging is not None and bool(flags(np.array(score), run.flagging.threshold)),
        entropy=entropy(row),
        bars=[
            ClassBar(
                classes[index],
                classes[index] in malignant,
                row.probabilities[index],
                min(values[index] for values in by_model),
                max(values[index] for values in by_model),
            )
            for index in sorted(most)
        ],
        thumbnail=pictures[0],
        overlay=pictures[1],
    )


def _class_choices(run: ScoringRun, triage: Triage, cards: Sequence[Card]) -> list[Choice]:
    return [
        Choice(f"class-{label}", name, sum(card.label == label for card in cards), sum(triage.score_bins[label]))
        for label, name in enumerate(run.classes)
    ]


def _level_choices(triage: Triage, cards: Sequence[Card]) -> list[Choice]:
    return [
        Choice(
            f"level-{level}",
            f"≥ {threshold:g}",
            sum(card.level >= level for card in cards),
            triage.at_least(threshold),
        )
        for level, threshold in enumerate(THRESHOLDS, start=1)
    ]


def _bins(most: float, *parts: Sequence[int]) -> list[Bin]:
    return [Bin(most * i / BINS, most * (i + 1) / BINS, [part[i] for part in parts]) for i in range(BINS)]


def _score_bins(run: ScoringRun, triage: Triage) -> list[Bin]:
    """Images of each bin by whether their top class is malignant: those where it is not come first."""
    kinds = [[0] * BINS, [0] * BINS]
    for name, bins in zip(run.classes, triage.score_bins, strict=True):
        kind = kinds[name in run.malignant_classes]
        kind[:] = [one + other for one, other in zip(kind, bins, strict=True)]
    return _bins(1.0, *kinds)


def _figures(metrics: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, float]]]]:
    """The plain numbers among a model's metrics, by split."""
    return [
        (split, [(key, value) for key, value in values.items() if isinstance(value, int | float)][:_METRICS])
        for split, values in metrics.items()
        if isinstance(values, Mapping)
    ]


def _class_rows(run: ScoringRun, triage: Triage, drift: Mapping[str, Any]) -> list[dict[str, Any]]:
    train = drift.get("train", {})
    return [
        {
            "class": name,
            "malignant": name in run.malignant_classes,
            "images": sum(triage.score_bins[label]),
            "share": sum(triage.score_bins[label]) / max(triage.scored, 1),
            "bins": _bins(1.0, triage.score_bins[label]),
            "train": train.get(name),
            "mean": triage.mean_probability[label],
        }
        for label, name in enumerate(run.classes)
    ]


def _rejects(triage: Triage) -> list[dict[str, Any]]:
    """Reasons, the most frequent first, with their first rows."""
    return [
        {
            "reason": reason,
            "files": triage.rejected[reason],
            "examples": [
                {"path": clipped_path(row.path), "stage": row.stage, "message": clipped(row.message)}
                for row in triage.rejects[reason]
            ],
        }
        for reason in sorted(triage.rejected, key=lambda reason: (-triage.rejected[reason], reason))
    ]


def triage_page(
    run: ScoringRun,
    summary: Mapping[str, Any],
    triage: Triage,
    pictures: Mapping[str, tuple[bytes | None, bytes | None]],
) -> bytes:
    """The page as UTF-8.

    summary: the content of summary.json, of which only `counts` must be there. pictures: by path of the rows in
    `triage.top`, thumbnail and overlay (see `triage_pictures`), each None where there is none; a path without a picture
    shows a placeholder.
    """
    cards = [make_card(run, row, pictures.get(row.path, (None, None))) for row in triage.top]
    drift = summary.get("drift") or {}
    return render(
        "triage.html.j2",
        title="Triage report",
        sections={
            "top": Section("Highest malignancy scores", len(cards)),
            "scores": Section("Scores", triage.scored),
            "classes": Section("Classes and training data", len(run.classes)),
            "rejects": Section("Rejected files", sum(triage.rejected.values())),
            "run": Section("How it was scored"),
        },
        run=run,
        summary=summary,
        triage=triage,
        cards=cards,
        class_choices=_class_choices(run, triage, cards),
        level_choices=_level_choices(triage, cards),
        score_bins=_score_bins(run, triage),
        entropy_bins=_bins(math.log2(len(run.classes)), triage.entropy_bins),
        class_rows=_class_rows(run, triage, drift),
        drift=drift,
        rejects=_rejects(triage),
        models=[
            {
                "path": clipped_path(str(model.get("path", ""))),
                "fingerprint": model.get("fingerprint", ""),
                "figures": _figures(model.get("metrics") or {}),
            }
            for model in summary.get("models", ())
        ],
    )
