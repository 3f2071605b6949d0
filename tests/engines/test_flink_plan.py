"""What Flink makes of our graph, by its REST interface: images are read by all slots, wherever they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy.engines.engine import Engine
from deploy.engines.processes import get_json
from tests.support.commands import Command
from tests.support.engines import Inputs, score

pytestmark = pytest.mark.engines

_SLOTS = 4


def last_job(page: str) -> dict[str, Any]:
    newest = max(get_json(f"{page}/jobs/overview")["jobs"], key=lambda job: job["start-time"])
    return get_json(f"{page}/jobs/{newest['jid']}")


def records_read(page: str, job: dict[str, Any], step: str) -> list[int]:
    """Return how many records each task of the one vertex that has the step was sent."""
    (vertex,) = (vertex for vertex in job["vertices"] if step in vertex["name"])
    tasks = get_json(f"{page}/jobs/{job['jid']}/vertices/{vertex['id']}")["subtasks"]
    return [task["metrics"]["read-records"] for task in tasks]


@pytest.mark.parametrize("engine", ["flink"], indirect=True)
def test_images_of_one_folder_are_read_by_several_slots(
    engine: Engine, command: Command, inputs: Inputs, tmp_path: Path
) -> None:
    # Two blocks of files; one folder is one part.
    images = Inputs(inputs.sample, inputs.model, "images")
    done = score(command, images, str(tmp_path / "scores"), *engine.options, *engine.set_slots(_SLOTS))
    assert done.returncode == 0, done.stderr
    job = last_job(engine.page)
    assert {vertex["parallelism"] for vertex in job["vertices"]} == {_SLOTS}
    # Fused with what looks at the files, but not with what lists them, which has a name below List images.
    read = records_read(engine.page, job, "]{List images, ")
    assert sorted(read) == [0, 0, 1, 1]
