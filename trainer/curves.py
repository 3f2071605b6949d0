"""Draw the training curves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from trainer.checkpoint import EpochRecord


def draw_curves(history: Sequence[EpochRecord], kept_epoch: int, path: Path) -> None:
    """Write a PNG of losses, validation balanced accuracy and learning rate by epoch.

    The file is written beside `path`, then renamed.

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
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, dpi=120, format="png")
    os.replace(temporary, path)
