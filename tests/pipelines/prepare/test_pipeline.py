"""How large the graph of prepare is; what it does is tested through the command."""

from __future__ import annotations

from pathlib import Path

import apache_beam as beam

from pipelines.prepare import pipeline as prepare_pipeline
from pipelines.prepare.options import parse_options
from pipelines.storage.attempt import Attempt
from tests.support.job_graph import GraphSize, graph_size


def size_of(folder: Path, inputs: int, files: int) -> GraphSize:
    """The graph for so many folders, with so many files and a table each."""
    given: list[object] = ["--output", folder / "dataset", "--folds", 5]
    for number in range(inputs):
        source = folder / f"source-{number}"
        (source / "nevus").mkdir(parents=True)
        for file in range(files):
            (source / "nevus" / f"ISIC_{file:07d}.jpg").touch()
        table = folder / f"table-{number}.csv"
        table.write_text("isic_id,lesion_id\n")
        given += ["--input", source, "--metadata", table]
    options, _ = parse_options([str(value) for value in given])
    pipeline = beam.Pipeline()
    prepare_pipeline.build(
        pipeline, options, threads=2, earlier="", attempt=Attempt(options.output, "1"), unattended=True
    )
    return graph_size(pipeline)


def test_the_graph_stays_as_large_whatever_is_read(tmp_path: Path) -> None:
    few = size_of(tmp_path / "few", inputs=2, files=1)
    many = size_of(tmp_path / "many", inputs=12, files=30)
    assert many.transforms == few.transforms
    # What the names of an input and a table take.
    assert many.encoded - few.encoded < 10 * 1_000
    # Each transform costs the runner time before the first file, and Dataflow refuses jobs of more than 10 MB.
    assert many.transforms <= 550
    assert many.encoded <= 1_200_000
