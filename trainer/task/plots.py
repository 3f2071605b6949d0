"""Pictures of a run: learning curves and reliability diagram."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.export.calibration import ReliabilityBin
from trainer.training.checkpoint import EpochRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_curves(history: Sequence[EpochRecord], kept_epoch: int, path: Path) -> None:
    """Write a PNG of losses, validation balanced accuracy and learning rate by epoch.

    Args:
        history: A record for each epoch.
        kept_epoch: The epoch whose weights are exported; marked by a line.
        path: The file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [record.epoch for record in history]
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, accuracy, rate = figure.subplots(1, 3)
    losses.plot(epochs, [record.loss for record in history], marker=".", label="train")
    losses.plot(epochs, [record.val_loss for record in history], marker=".", label="validation")
    losses.set_title("loss (nats)")
    accuracy.plot(epochs, [record.val_balanced_accuracy for record in history], marker=".", color="C1")
    accuracy.set_title("balanced accuracy (validation)")
    accuracy.set_ylim(0, 1)
    rate.plot(epochs, [record.learning_rate for record in history], marker=".", color="C2")
    rate.set_title("learning rate")
    for axes in (losses, accuracy, rate):
        axes.axvline(kept_epoch, color="0.6", linestyle=":", label=f"exported ({kept_epoch})")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    losses.legend()
    _write_png(figure, path)


def draw_reliability(panels: Mapping[str, Sequence[ReliabilityBin]], path: Path) -> None:
    """Write a PNG with a reliability diagram in each panel.

    On the diagonal, confidence equals accuracy; below it, the model is overconfident. Bars at the foot show the share
    of the images in each bin.

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
    _write_png(figure, path)


def _write_png(figure: Figure, path: Path) -> None:
    """Write a figure beside `path`, then rename it, so that a reader sees the old picture or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, dpi=120, format="png")
    os.replace(temporary, path)
