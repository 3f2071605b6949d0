"""The output of a transform, for tests. In a module of its own, so that Beam pickles `_keep` by reference."""

from __future__ import annotations

import apache_beam as beam

_collected: list = []


def _keep(element) -> None:
    _collected.append(element)


def run_source(transform) -> list:
    """What a transform that starts from nothing gives on the local runner."""
    _collected.clear()
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | transform | "Keep" >> beam.Map(_keep)
    return list(_collected)


def run(elements, transform) -> list:
    """What `transform` makes of `elements` on the local runner."""
    return run_source(beam.Create(elements) | transform)


class _WithSide(beam.PTransform):
    def __init__(self, elements, side, transform):
        super().__init__()
        self._elements, self._side, self._transform = elements, side, transform

    def expand(self, begin):
        main, side = begin | "Main" >> beam.Create(self._elements), begin | "Side" >> beam.Create(self._side)
        return (main, side) | self._transform


def run_with(elements, side, transform) -> list:
    """What `transform` makes of the pair of collections `elements` and `side`."""
    return run_source(_WithSide(list(elements), list(side), transform))
