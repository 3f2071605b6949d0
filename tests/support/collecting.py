"""The output of a transform, for tests. In a module of its own, so that Beam pickles `_keep` by reference."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PBegin

_collected: list = []


def _keep(element: Any) -> None:
    _collected.append(element)


def run_source(transform: beam.PTransform) -> list:
    """What a transform that starts from nothing gives on the local runner."""
    _collected.clear()
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | transform | "Keep" >> beam.Map(_keep)
    return list(_collected)


def run(elements: Iterable, transform: beam.PTransform) -> list:
    """What `transform` makes of `elements` on the local runner."""
    return run_source(beam.Create(elements) | transform)


class _WithSide(beam.PTransform):
    def __init__(self, elements: list, side: list, transform: beam.PTransform):
        super().__init__()
        self._elements, self._side, self._transform = elements, side, transform

    def expand(self, begin: PBegin) -> beam.PCollection:
        main, side = begin | "Main" >> beam.Create(self._elements), begin | "Side" >> beam.Create(self._side)
        return (main, side) | self._transform


def run_with(elements: Iterable, side: Iterable, transform: beam.PTransform) -> list:
    """What `transform` makes of the pair of collections `elements` and `side`."""
    return run_source(_WithSide(list(elements), list(side), transform))
