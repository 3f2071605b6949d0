"""Rows of images for tests."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from pipelines.dataset.image_row import ImageRow


def row(relative: str, **values: Any) -> ImageRow:
    return ImageRow(path=f"/archive/{relative}", relative=relative, **{"sha256": "aa", "label": "nevus", **values})


def train_row(name: str, **values: Any) -> ImageRow:
    return ImageRow(path=f"/archive/{name}", relative=name, **{"sha256": name, "split": "train", **values})


def shuffled(rows: Sequence[ImageRow]) -> list[ImageRow]:
    return random.Random(2).sample(rows, len(rows))
