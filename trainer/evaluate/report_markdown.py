"""Render an evaluation as Markdown: the content of the page, without its curves and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.common.html import counted, percent
from pipelines.common.markdown import plain, table
from trainer.evaluate.mistakes import MISTAKE_KINDS
from trainer.evaluate.report import (
    TITLE,
    Result,
    caution,
    few_classes,
    format_estimate,
    headline_figures,
    interval_note,
    joined_note,
    origin,
    subgroup_columns,
    threshold_note,
)
from trainer.metrics.bootstrap import FEW


def _share(value: float) -> str:
    return f"{value:.3f}"


def _confusion(result: Result) -> Iterator[str]:
    names = [plain(name) for name in result["classes"]]
    yield "## Confusion matrix"
    yield ""
    yield "A row for each true class, a column for each predicted one."
    yield ""
    matrix = result["figures"]["confusion_matrix"]
    yield from table(("", *names), [[name, *counts] for name, counts in zip(names, matrix, strict=True)])
    yield ""


def _classes(result: Result) -> Iterator[str]:
    figures = result["figures"]
    yield "## Classes"
    yield ""
    rows = [
        [
            plain(name) + (" (malignant)" if name in result["malignant_classes"] else ""),
            row["n"],
            row["groups"],
            *(format_estimate(row[key]) for key in ("sensitivity", "specificity", "auc", "average_precision")),
        ]
        for name, row in figures["per_class"].items()
    ]
    yield from table(("Class", "Images", "Lesions", "Sensitivity", "Specificity", "AUC", "Average precision"), rows)
    if figures["bootstrap"]["resamples"] and (few := few_classes(figures)):
        yield ""
        yield f"Fewer than {FEW} lesions of {', '.join(map(plain, few))}: intervals too narrow to rely on."
    yield ""


def _calibration(result: Result) -> Iterator[str]:
    calibration = result["calibration"]
    yield "## Calibration"
    yield ""
    error = _share(calibration["expected_calibration_error"])
    yield f"Expected calibration error {error}, by the confidence in the top class."
    yield ""
    yield from table(
        ("Confidence", "Images", "Mean confidence", "Accuracy"),
        [
            [f"{row['low']:.2f} to {row['high']:.2f}", row["n"], _share(row["confidence"]), _share(row["accuracy"])]
            for row in calibration["bins"]
            if row["n"]
        ],
    )
    yield ""
    if result["operating_points"]:
        yield "## Operating points"
        yield ""
        yield from table(
            ("Chosen for sensitivity", "Threshold", "Sensitivity here", "Specificity here"),
            [
                [
                    percent(row["target"], 1),
                    f"{row['threshold']:.4f}",
                    format_estimate(row["sensitivity"]),
                    format_estimate(row["specificity"]),
                ]
                for row in result["operating_points"]
            ],
        )
        yield ""


def _subgroups(result: Result) -> Iterator[str]:
    yield "## Subgroups"
    yield ""
    if not result["subgroups"]:
        yield "No metadata says of whom the images were taken (`--metadata`)."
        yield ""
        return
    if note := threshold_note(result):
        yield plain(note)
        yield ""
    yield from subgroup_tables(result)


def subgroup_tables(result: Result) -> Iterator[str]:
    """Yield the lines of a Markdown table for each attribute that divides the images into subgroups.

    Args:
        result: Any mapping with `subgroups` as in evaluation.json.
    """
    columns = subgroup_columns(result)
    for attribute in result["subgroups"]:
        yield f"### By {attribute['by']}"
        yield ""
        yield from table(
            ("Group", "Images", "Lesions", "Classes", *(title for _, title in columns)),
            [
                [
                    plain(group["group"]),
                    group["n"],
                    group["lesions"],
                    group["classes"],
                    *(_figure(group, key) for key, _ in columns),
                ]
                for group in attribute["groups"]
            ],
        )
        yield ""


def _figure(group: Mapping[str, Any], key: str) -> str:
    if group["few"]:
        return "too few"
    return format_estimate(group[key]) if key in group else "-"


def _mistakes(result: Result) -> Iterator[str]:
    yield "## Worst mistakes"
    yield ""
    for kind in MISTAKE_KINDS:
        entries = result["mistakes"][kind.name]
        yield f"### {kind.title}"
        yield ""
        yield f"{kind.order.capitalize()}." if entries else "None."
        yield ""
        if entries:
            yield from table(
                ("Image", "Is", "Called", "Probability"),
                [
                    [plain(one["source_id"]), plain(one["class"]), plain(one["predicted"]), _share(one["probability"])]
                    for one in entries
                ],
            )
            yield ""


def evaluation_text(result: Result) -> bytes:
    """Render the Markdown, as UTF-8.

    Args:
        result: The content of evaluation.json.
    """
    figures = result["figures"]
    warning = caution(result)
    lines = [
        f"# {TITLE}",
        "",
        f"{counted(figures['n'], 'image')} of {counted(figures['groups'], 'lesion')}. For research; no diagnosis.",
        "",
        *([f"**{warning[0]}.** {warning[1]}", ""] if warning else []),
        *([plain(note), ""] if (note := joined_note(result)) else []),
        *table(
            ("Figure", "Value", "Rests on"),
            [[one.name, format_estimate(one.estimate), one.n] for one in headline_figures(result)],
        ),
        "",
        plain(interval_note(result)),
        "",
        *_confusion(result),
        *_classes(result),
        *_calibration(result),
        *_subgroups(result),
        *_mistakes(result),
        "## How it was made",
        "",
        *table(("", ""), [[name, plain(value)] for name, value in origin(result)]),
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")
