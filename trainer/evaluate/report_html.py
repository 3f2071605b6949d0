"""Render an evaluation as one self-contained HTML page, which runs no scripts and loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.common.html import Section, render
from trainer.evaluate.mistakes import MISTAKE_KINDS, MistakePictures
from trainer.evaluate.report import (
    TITLE,
    Result,
    caution,
    few_classes,
    headline_figures,
    interval_note,
    joined_note,
    origin,
    part,
    subgroup_columns,
    threshold_note,
)
from trainer.metrics.roc_pr_curves import Curves, Line

# The side of a plot, in SVG units.
_SIDE = 100


def svg_path(points: Line) -> str:
    """Convert points to an SVG path in a square of _SIDE units with its origin at the lower left.

    Args:
        points: (x, y), each 0 to 1.
    """
    return "M" + "L".join(f"{_SIDE * x:.1f} {_SIDE * (1 - y):.1f}" for x, y in points)


def _panels(curves: Sequence[Curves], result: Result) -> list[dict[str, Any]]:
    """Return both curves of each class with images, as SVG paths or None, and the figures shown beside them."""
    return [
        {
            "name": curve.name,
            "n": curve.n,
            "malignant": curve.name in result["malignant_classes"],
            "prevalence": curve.prevalence,
            "figures": result["figures"]["per_class"][curve.name],
            "roc": svg_path(curve.roc) if curve.roc else None,
            "precision_recall": svg_path(curve.precision_recall) if curve.precision_recall else None,
        }
        for curve in curves
        if curve.n
    ]


def _confusion(result: Result) -> list[dict[str, Any]]:
    """Return a row for each true class: counts, and their shares of the class."""
    rows = []
    for name, counts in zip(result["classes"], result["figures"]["confusion_matrix"], strict=True):
        total = result["figures"]["per_class"][name]["n"]
        rows.append(
            {
                "class": name,
                "total": total,
                "undecided": total - sum(counts),
                "cells": [{"count": count, "share": count / total if total else 0.0} for count in counts],
            }
        )
    return rows


def evaluation_page(result: Result, curves: Sequence[Curves], pictures: Mapping[str, MistakePictures]) -> bytes:
    """Render the page, as UTF-8.

    Args:
        result: The content of evaluation.json.
        curves: From `rank_curves`.
        pictures: By sha256, from `mistakes.draw`. An image without one gets a placeholder, unless none has one.
    """
    sections = {
        "figures": Section("Figures", result["figures"]["n"]),
        "confusion": Section("Confusion matrix"),
        "classes": Section("Classes", len(result["classes"])),
        "curves": Section("ROC and precision-recall"),
        "calibration": Section("Calibration"),
        **({"operating": Section("Operating points")} if result["operating_points"] else {}),
        "subgroups": Section("Subgroups"),
        "mistakes": Section("Worst mistakes"),
        "origin": Section("How it was made"),
    }
    return render(
        "evaluation.html.j2",
        title=TITLE,
        sections=sections,
        result=result,
        figures=result["figures"],
        caution=caution(result),
        joined_note=joined_note(result),
        headlines=headline_figures(result),
        interval_note=interval_note(result),
        threshold_note=threshold_note(result),
        few_classes=few_classes(result["figures"]),
        confusion=_confusion(result),
        panels=_panels(curves, result),
        subgroup_columns=subgroup_columns(result),
        kinds=[(kind, result["mistakes"][kind.name]) for kind in MISTAKE_KINDS],
        pictures=pictures,
        has_maps=any(picture.map for picture in pictures.values()),
        origin=origin(result),
        part=part(result),
    )
