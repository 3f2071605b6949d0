"""Waiting for files in a graph."""

from __future__ import annotations

from pathlib import Path

import apache_beam as beam
import pytest

from pipelines.beam.wait_for_files import WaitForFiles


def _write(path: str) -> str:
    Path(path).write_text("whole")
    return path


def test_what_waits_for_files_runs_once_and_finds_all_of_them_written(tmp_path: Path) -> None:
    def look(written: dict[str, list]) -> None:
        found = {name: sorted(Path(path).read_text() for path in paths) for name, paths in written.items()}
        (tmp_path / "found").open("a").write(f"{found}\n")

    with beam.Pipeline() as pipeline:
        many = pipeline | "Many" >> beam.Create([f"{tmp_path}/{number}" for number in range(20)])
        one = pipeline | "One" >> beam.Create([f"{tmp_path}/one"])
        files = {"many": many | "Write many" >> beam.Map(_write), "one": one | "Write one" >> beam.Map(_write)}
        _ = files | WaitForFiles() | beam.Map(look)
    assert (tmp_path / "found").read_text() == str({"many": ["whole"] * 20, "one": ["whole"]}) + "\n"


def test_a_writer_that_wrote_nothing_stops_the_job_unless_it_may(tmp_path: Path) -> None:
    def job(may_be_empty: list[str]) -> None:
        with beam.Pipeline() as pipeline:
            none = pipeline | beam.Create([f"{tmp_path}/x"]) | beam.Filter(lambda _: False) | beam.Map(_write)
            _ = {"scores": none} | WaitForFiles(may_be_empty) | beam.Map(lambda written: _write(f"{tmp_path}/end"))

    with pytest.raises(Exception, match="nothing was written as scores"):
        job([])
    assert not (tmp_path / "end").exists()
    job(["scores"])
    assert (tmp_path / "end").exists()
