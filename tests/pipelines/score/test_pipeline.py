"""How large the graph of score is; what it does is tested through the command."""

from __future__ import annotations

import datetime
from pathlib import Path

import apache_beam as beam

from pipelines.beam.arguments import BeamArguments
from pipelines.score import pipeline as score_pipeline
from pipelines.score.job import plan_run
from pipelines.score.options import parse_options
from pipelines.storage.attempt import Attempt
from tests.support.documents import model_document, write_model_json
from tests.support.job_graph import GraphSize, graph_size


def size_of(folder: Path, inputs: int, files: int) -> GraphSize:
    """The graph for so many folders with so many files each."""
    model = write_model_json(folder / "model", model_document(["melanoma", "nevus"], ["melanoma"], 32))
    (model / "saved_model.pb").touch()
    given: list[object] = ["--model", model, "--output", folder / "scores", "--report"]
    for number in range(inputs):
        source = folder / f"source-{number}"
        source.mkdir()
        for file in range(files):
            (source / f"ISIC_{file:07d}.jpg").touch()
        given += ["--input", source]
    options, rest = parse_options([str(value) for value in given])
    arguments = BeamArguments(rest, "score")
    job = plan_run(options, arguments, datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    pipeline = beam.Pipeline(options=arguments.options)
    score_pipeline.build(pipeline, job, Attempt(job.partition, "1"), unattended=True)
    return graph_size(pipeline)


def test_the_graph_stays_as_large_whatever_is_scored(tmp_path: Path) -> None:
    few = size_of(tmp_path / "few", inputs=2, files=1)
    many = size_of(tmp_path / "many", inputs=12, files=30)
    assert many.transforms == few.transforms
    # What the name of an input takes.
    assert many.encoded - few.encoded < 10 * 1_000
    # Each transform costs the runner time before the first file, and Dataflow refuses jobs of more than 10 MB.
    assert many.transforms <= 135
    assert many.encoded <= 250_000
