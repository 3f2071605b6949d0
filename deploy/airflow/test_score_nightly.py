"""The nightly DAG in a real Airflow: imported, rendered, run with each exit code. `make test-airflow` starts it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import score_nightly
from airflow.exceptions import AirflowException, AirflowFailException

ROOT = Path(__file__).resolve().parents[2]
# The project's own Python: Airflow's environment has none of it.
PROJECT_PYTHON = os.environ.get("PROJECT_PYTHON", str(ROOT / ".venv" / "bin" / "python"))
SETTINGS = {
    "input": "gs://clinic/images",
    "model": "gs://clinic/models/7",
    "output": "gs://clinic/scores",
    "project": "clinic",
    "region": "europe-west4",
    "temp_location": "gs://clinic/temp",
    "sdk_container_image": "europe-docker.pkg.dev/clinic/isic/worker:1",
    "service_account_email": "worker@clinic.iam.gserviceaccount.com",
}


class Google:
    """What the operator asks of Dataflow, without Dataflow. running: whether a job of an earlier attempt is there."""

    running = False
    cancelled: list[tuple[str, str, str]] = []  # noqa: RUF012

    def __init__(self, gcp_conn_id: str):
        assert gcp_conn_id == "google_cloud_default"

    def is_job_dataflow_running(self, name: str, project_id: str, location: str) -> bool:
        assert (name, project_id, location) == ("isic-score-nightly", "clinic", "europe-west4")
        return self.running

    def cancel_job(self, job_name: str, project_id: str, location: str) -> None:
        self.cancelled.append((job_name, project_id, location))


@pytest.fixture
def night(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs the score task as Airflow does: its templates rendered, then executed; gives result and arguments."""
    monkeypatch.setattr(score_nightly, "DataflowHook", Google)
    monkeypatch.setattr(Google, "running", False)
    python = tmp_path / "python"

    def rendered(try_number: int = 1) -> score_nightly.ScoreOperator:
        settings = {**SETTINGS, "python": str(python)}
        operator = score_nightly.ScoreOperator(
            task_id=f"score_{try_number}",
            **{
                name: getattr(score_nightly.score, name)
                for name in ("py_file", "py_interpreter", "py_options", "runner", "pipeline_options")
            },
        )
        context = {
            "ds": "2026-03-01",
            "ti": SimpleNamespace(try_number=try_number),
            "var": {"json": {"isic_score": settings}},
        }
        operator.render_template_fields(context)
        return operator

    def run(code: int, try_number: int = 1) -> int:
        # In the place of the project's Python: answers the question for Beam's version, keeps what it is told to run.
        python.write_text(
            f'#!/bin/sh\nif [ "$1" = -c ]; then echo 2.77.0; exit; fi\nprintf "%s\\n" "$@" > {tmp_path}/argv\n'
            f"exit {code}\n"
        )
        python.chmod(0o755)
        (tmp_path / "argv").unlink(missing_ok=True)
        return rendered(try_number).execute({})

    run.rendered = rendered
    run.argv = lambda: (tmp_path / "argv").read_text().splitlines()
    return run


def test_one_night_at_a_time() -> None:
    dag = score_nightly.dag
    assert dag.task_ids == ["score", "check_rejects"]
    assert dag.max_active_runs == 1
    assert not dag.catchup
    assert score_nightly.score.retries == 3
    assert dag.get_task("check_rejects").retries == 0
    assert dag.get_task("check_rejects").upstream_task_ids == {"score"}


def test_the_command_understands_what_is_rendered(night: Any) -> None:
    assert night(0) == 0
    module, *argv = night.argv()[1:]
    assert night.argv()[0] == "-m"
    assert module == "pipelines.score"
    code = (
        "import json, sys; from pipelines.score.options import parse_options;"
        "from pipelines.beam.runner import beam_options;"
        "from apache_beam.options.pipeline_options import GoogleCloudOptions as G, WorkerOptions as W;"
        "options, rest = parse_options(sys.argv[1:]); beam = beam_options(rest); cloud = beam.view_as(G);"
        "print(json.dumps([vars(options), cloud.job_name, cloud.project, cloud.region, cloud.temp_location,"
        "cloud.service_account_email, beam.view_as(W).sdk_container_image]))"
    )
    parsed = subprocess.run(
        [PROJECT_PYTHON, "-c", code, *argv], cwd=ROOT, capture_output=True, text=True, check=True, env={"HOME": "/"}
    )
    options, *beam = json.loads(parsed.stdout)
    assert options["input"] == [SETTINGS["input"]]
    assert options["model"] == [SETTINGS["model"]]
    assert options["output"] == SETTINGS["output"]
    assert options["previous"] == [SETTINGS["output"]]
    assert options["run"] == "2026-03-01"
    assert options["report"]
    assert not options["overwrite"]
    names = ("project", "region", "temp_location", "service_account_email", "sdk_container_image")
    assert beam == ["isic-score-nightly", *(SETTINGS[name] for name in names)]


def test_a_further_attempt_has_a_partition_of_its_own(night: Any) -> None:
    night(0, try_number=2)
    assert "--run=2026-03-01.02" in night.argv()


def test_too_many_rejects_finish_and_alert(night: Any) -> None:
    assert night(1) == 1
    check = score_nightly.dag.get_task("check_rejects").python_callable
    with pytest.raises(AirflowFailException, match="max_reject_fraction"):
        check(1)
    check(0)


def test_wrong_use_is_not_tried_again(night: Any) -> None:
    with pytest.raises(AirflowFailException):
        night(2)


@pytest.mark.parametrize("code", [3, 130])
def test_other_failures_are_tried_again(night: Any, code: int) -> None:
    with pytest.raises(AirflowException, match=f"return code {code}") as raised:
        night(code)
    assert not isinstance(raised.value, AirflowFailException)


def test_an_attempt_waits_for_the_job_of_an_earlier_one(night: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Google, "running", True)
    with pytest.raises(AirflowException, match="still running") as raised:
        night(0)
    assert not isinstance(raised.value, AirflowFailException)
    with pytest.raises(FileNotFoundError):
        night.argv()


def test_a_killed_task_cancels_its_job(night: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Google, "cancelled", [])
    night.rendered().on_kill()
    assert Google.cancelled == [("isic-score-nightly", "clinic", "europe-west4")]
