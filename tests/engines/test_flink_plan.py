"""What Flink makes of our graph, by its REST interface: images are read by several slots, wherever they come from."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.engines.engine import Engine
from deploy.engines.processes import get_json
from tests.support.commands import Command
from tests.support.engines import Inputs, score

pytestmark = pytest.mark.engines

_SLOTS = 4


def newest_job(page: str, step: str) -> dict[str, Any]:
    """Return the newest job that has a step and a task of it on each slot."""
    for listed in sorted(get_json(f"{page}/jobs/overview")["jobs"], key=lambda job: -job["start-time"]):
        job = get_json(f"{page}/jobs/{listed['jid']}")
        if {vertex["parallelism"] for vertex in job["vertices"] if step in vertex["name"]} == {_SLOTS}:
            return job
    raise AssertionError(step)


def records_read(page: str, job: dict[str, Any], step: str) -> list[int]:
    """Return how many records each task of the one vertex that has the step was sent."""
    (vertex,) = (vertex for vertex in job["vertices"] if step in vertex["name"])
    tasks = get_json(f"{page}/jobs/{job['jid']}/vertices/{vertex['id']}")["subtasks"]
    return [task["metrics"]["read-records"] for task in tasks]


# In both jobs: two blocks of files; one folder is one part. They are not fused with what lists them, which has a name
# below List images.


@pytest.mark.parametrize("engine", ["flink"], indirect=True)
def test_images_of_one_folder_are_read_by_several_slots(
    engine: Engine, prepared: tuple[subprocess.CompletedProcess[str], Path]
) -> None:
    done, _ = prepared
    assert done.returncode == 0, done.stderr
    job = newest_job(engine.page, "Check images")
    assert {vertex["parallelism"] for vertex in job["vertices"]} == {_SLOTS}
    assert sorted(records_read(engine.page, job, "]{List images, ")) == [0, 0, 1, 1]


@pytest.mark.engines_long
@pytest.mark.parametrize("engine", ["flink"], indirect=True)
def test_images_of_one_folder_are_scored_by_several_slots(
    engine: Engine, command: Command, inputs: Inputs, tmp_path: Path
) -> None:
    images = Inputs(inputs.sample, inputs.model, "images")
    done = score(command, images, str(tmp_path / "scores"), *engine.options, *engine.set_slots(_SLOTS))
    assert done.returncode == 0, done.stderr
    job = newest_job(engine.page, "Read and check")
    assert {vertex["parallelism"] for vertex in job["vertices"]} == {_SLOTS}
    assert sorted(records_read(engine.page, job, "]{List images, ")) == [0, 0, 1, 1]
