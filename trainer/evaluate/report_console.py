"""Format an evaluation as a table for the terminal, and draw its confusion matrix.

Both take the result of `metrics.evaluate`. matplotlib is imported only for drawing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer.evaluate.report import few_classes, format_estimate
from trainer.metrics.bootstrap import FEW

_COLUMNS = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "auc": "AUC",
    "average_precision": "avg. precision",
}
_CELL = 18


def format_table(figures: Mapping[str, Any]) -> str:
    """Format the figures as lines of text: balanced accuracy, operating points, then a line for each class."""
    at = figures["sensitivity_at_specificity"]
    percent = round(100 * figures["bootstrap"]["confidence"])
    size = f"n = {figures['n']} images of {figures['groups']} lesions"
    if figures["bootstrap"]["resamples"]:
        size += f"; brackets: {percent} % interval"
    lines = [f"balanced accuracy  {format_estimate(figures['balanced_accuracy'])}   {size}"]
    for name in ("melanoma", "malignant"):
        if name in at:
            title = f"{name} sensitivity at {at['specificity']:.0%} specificity"
            lines.append(f"{title}  {format_estimate(at[name])}   n = {at[name]['n']}")
    width = max(len("class"), *(len(name) for name in figures["per_class"]))
    lines += ["", f"{'class':<{width}}  {'n':>5}  " + "  ".join(f"{title:<{_CELL}}" for title in _COLUMNS.values())]
    for name, row in figures["per_class"].items():
        cells = "  ".join(f"{format_estimate(row[column]):<{_CELL}}" for column in _COLUMNS)
        lines.append(f"{name:<{width}}  {row['n']:>5}  {cells}")
    few = few_classes(figures)
    if few and figures["bootstrap"]["resamples"]:
        which = ", ".join(few) if len(few) <= 3 else f"{len(few)} of {len(figures['per_class'])} classes"
        lines += ["", f"Fewer than {FEW} lesions of {which}: intervals too narrow to rely on."]
    return "\n".join(line.rstrip() for line in lines)


def draw_confusion_matrix(matrix: Sequence[Sequence[int]], classes: Sequence[str], title: str, path: Path) -> None:
    """Write the confusion matrix as a PNG: a row for each true class, a column for each predicted class.

    Args:
        matrix: Counts [C, C], written into the cells. Colours show each row's shares.
        classes: Class names in label order.
        title: The title of the picture.
        path: The file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = np.asarray(matrix)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    size = 3.2 + 0.62 * len(classes)
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(classes))
    axes.set_xticks(ticks, classes, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, [f"{name} ({total})" for name, total in zip(classes, totals[:, 0], strict=True)])
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class (images)")
    axes.set_title(title)
    # White lines between the cells.
    axes.set_xticks(np.arange(len(classes) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(classes) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    for row, column in np.ndindex(*counts.shape):
        text = f"{counts[row, column]}\n{shares[row, column]:.0%}" if counts[row, column] else "0"
        colour = ("white" if shares[row, column] > 0.55 else "black") if counts[row, column] else "0.75"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(picture, ax=axes, label="share of the true class", shrink=0.7)
    figure.savefig(path, dpi=120, format="png", bbox_inches="tight")
