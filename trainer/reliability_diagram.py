"""Draw the reliability diagram: how often the top class is right, by how sure the model is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainer.calibration import ReliabilityBin


def draw_reliability(panels: Mapping[str, Sequence[ReliabilityBin]], path: Path) -> None:
    """Write a PNG with a reliability diagram in each panel.

    On the diagonal, confidence equals accuracy; below it, the model is overconfident. Bars at the foot show the share
    of the images in each bin. The file is written beside `path`, then renamed.

    Args:
        panels: Title -> bins, from `reliability`.
        path: The file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(panels), 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for plot, (title, table) in zip(axes, panels.items(), strict=True):
        filled = [row for row in table if row.weight]
        total = sum(row.weight for row in filled)
        middles, widths = [(row.low + row.high) / 2 for row in filled], [row.high - row.low for row in filled]
        plot.bar(middles, [row.weight / total for row in filled], widths, color="0.85", label="share of images")
        plot.plot([0, 1], [0, 1], color="0.6", linestyle=":")
        plot.plot(
            [row.confidence for row in filled], [row.accuracy for row in filled], marker=".", label="accuracy of a bin"
        )
        plot.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=title, xlabel="confidence in the top class")
        plot.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy")
    axes[0].legend(loc="upper left")
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, dpi=120, format="png")
    os.replace(temporary, path)
