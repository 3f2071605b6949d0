"""Rows with an outcome and the sums that are made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from pipelines.dataset import accounting
from pipelines.dataset import description as dataset_description
from pipelines.dataset.image_row import ImageRow


def rows_of(*outcomes: str) -> list[ImageRow]:
    return [
        ImageRow(f"/a/{n}", f"{n}", outcome=outcome, split="train", label="a", copies=2)
        for n, outcome in enumerate(outcomes)
    ]


def tallies(rows: Iterable[ImageRow], listed: Collection[str]) -> tuple[Counter, Counter]:
    totals: Counter = Counter()
    for row in rows:
        totals.update(dataset_description.tally_row(row))
    return Counter({("listed",): len(listed), ("listed paths",): sum(map(accounting.path_hash, listed))}), totals
