"""The graph of a job as a runner gets it."""

from __future__ import annotations

from typing import NamedTuple

import apache_beam as beam


class GraphSize(NamedTuple):
    """How large a graph is."""

    transforms: int  # composites do not count
    encoded: int  # bytes


def graph_size(pipeline: beam.Pipeline) -> GraphSize:
    graph = pipeline.to_runner_api()
    leaves = [each for each in graph.components.transforms.values() if not each.subtransforms]
    return GraphSize(len(leaves), len(graph.SerializeToString()))
