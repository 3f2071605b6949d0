"""Render the triage report of `pipelines.score`: the images to look at first, charts of all scores, rejects.

The size is bounded for any archive: names and messages are cut to TEXT characters, and an image shows at most BARS
classes. With pictures from `triage_pictures`, class names of up to 40 characters and up to ten reject reasons, a page
of N images is smaller than N * IMAGE_BYTES + PAGE_BYTES, whatever the images and their names. Ordinary images take
about 11 kB each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipelines.common.html import Section, render
from pipelines.common.text import printable
from pipelines.domain.decision_rule import flags
from pipelines.score.score_row import ScoreRow, ScoringRun, entropy, malignancy_score, top_class
from pipelines.score.triage import BINS, Triage

TEXT = 200
BARS = 12
IMAGE_BYTES = 50_000
PAGE_BYTES = 3_000_000
# Choices of the score filter. They are edges of the histogram's bins, so that the number of images in the run that
# pass is known.
THRESHOLDS = (0.1, 0.25, 0.5, 0.75, 0.9)
# Number of a model's metrics shown for each split.
_METRICS = 12


def clipped(text: str) -> str:
    """Return the text, cut to at most TEXT characters with a final ellipsis."""
    return text if len(text) <= TEXT else text[: TEXT - 1] + "…"


def clipped_path(path: str) -> str:
    """Return a path for display (see `text.printable`), cut to at most TEXT characters.

    A long path loses its beginning, because its end says more.
    """
    shown = printable(path)
    return shown if len(shown) <= TEXT else "…" + shown[1 - TEXT :]


class ClassBar(NamedTuple):
    """The probability of one class for an image."""

    name: str
    malignant: bool
    probability: float
    low: float  # lowest probability from any model of an ensemble
    high: float  # highest probability from any model of an ensemble


class Card(NamedTuple):
    """What the page shows of one image."""

    path: str
    image_id: str
    label: int  # of its top class
    top_class: str
    level: int  # how many of THRESHOLDS the score reaches
    score: float
    low: float  # lowest malignancy score from any model
    high: float  # highest malignancy score from any model
    flagged: bool  # whether the score reaches the run's threshold
    entropy: float
    bars: list[ClassBar]
    thumbnail: bytes | None  # JPEG
    overlay: bytes | None  # JPEG


class Choice(NamedTuple):
    """One choice of a filter."""

    id: str
    name: str
    shown: int  # images on the page that pass the filter
    scored: int  # scored images of the run that pass the filter


class Bin(NamedTuple):
    """One bar of a histogram."""

    low: float  # lower edge
    high: float  # upper edge
    parts: list[int]  # number of images in each part of the bar


def make_card(run: ScoringRun, row: ScoreRow, pictures: tuple[bytes | None, bytes | None]) -> Card:
    """Return what the page shows of a scored row.

    Args:
        run: The scoring run.
        row: A scored row.
        pictures: Thumbnail and overlay as JPEGs; None for a missing one.
    """
    classes, malignant = run.classes, run.malignant_classes
    by_model = row.by_model or (row.probabilities,)
    scores = [malignancy_score(row._replace(probabilities=values), classes, malignant) for values in by_model]
    most = sorted(range(len(classes)), key=lambda index: -row.probabilities[index])[:BARS]
    score = malignancy_score(row, classes, malignant)
    return Card(
        path=clipped_path(row.path),
        image_id=clipped(row.image_id),
        label=classes.index(top_class(row, run)),
        top_class=top_class(row, run),
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
    """Return the histogram of scores in two parts: images with a benign top class, then with a malignant one."""
    kinds = [[0] * BINS, [0] * BINS]
    for name, bins in zip(run.classes, triage.score_bins, strict=True):
        kind = kinds[name in run.malignant_classes]
        kind[:] = [one + other for one, other in zip(kind, bins, strict=True)]
    return _bins(1.0, *kinds)


def _figures(metrics: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, float]]]]:
    """Return the plain numbers among a model's metrics, by split."""
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
    """Return the reject reasons, most frequent first, with their first rows."""
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
    """Render the page.

    Args:
        run: The scoring run.
        summary: Content of _summary.json; only `counts` is required.
        triage: What `CollectTriage` collected from the run's rows.
        pictures: Path of a row in `triage.top` -> thumbnail and overlay (see `triage_pictures`), None for a missing
            one. A row without an entry shows a placeholder.

    Returns:
        HTML as UTF-8.
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
