"""An Airflow DAG: each night score what is new, then say whether too much of it was rejected.

Needs Airflow 3 with the providers apache-beam and google, and one Airflow Variable, `isic_score`, a JSON object:

    {"python": "/opt/lesions/bin/python",  the Python of an environment with this project in it
     "input": "gs://clinic/images", "model": "gs://clinic/models/7", "output": "gs://clinic/scores",
     "project": "...", "region": "...", "temp_location": "gs://...",
     "sdk_container_image": "...", "service_account_email": "..."}

Nothing in it is secret: the workers run as the service account, and Airflow as its own (docs/nightly.md).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any

from airflow.providers.apache.beam.operators.beam import BeamRunPythonPipelineOperator
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from airflow.providers.google.cloud.hooks.dataflow import DataflowHook
from airflow.sdk import DAG, task

# Exit codes of `pipelines.score`; any other is a failure that the same command may mend.
TOO_MANY_REJECTS = 1
WRONG_USE = 2


# One name for all nights: Dataflow runs one job of a name at a time.
JOB_NAME = "isic-score-nightly"
# By its full name. Told `DataflowRunner`, the operator leaves the command once the job has an id, and with it the
# command's exit code and its last checks; this way it waits for the command, which waits for the job.
RUNNER = "apache_beam.runners.dataflow.dataflow_runner.DataflowRunner"


_CODE = re.compile(r"failed with return code (-?\d+)")


class ScoreOperator(BeamRunPythonPipelineOperator):
    """Runs `python -m pipelines.score` and minds its exit code, which it gives: 0, or 1 for too many rejects.

    Wrong use fails without another try; other failures are left to `retries`. An attempt does not begin while the
    job of an earlier one runs, since it would clear away what that one has written.
    """

    template_fields = (*BeamRunPythonPipelineOperator.template_fields, "py_interpreter")

    def _dataflow(self) -> tuple[DataflowHook, str, str]:
        options = self.pipeline_options
        return DataflowHook(gcp_conn_id=self.gcp_conn_id), options["project"], options["region"]

    def execute(self, context: Mapping[str, Any]) -> int:
        hook, project, region = self._dataflow()
        if hook.is_job_dataflow_running(name=JOB_NAME, project_id=project, location=region):
            raise AirflowException(f"a job {JOB_NAME} of an earlier attempt is still running")
        try:
            super().execute(context)
        except AirflowException as error:
            found = _CODE.search(str(error))
            code = int(found[1]) if found else None
            if code == WRONG_USE:
                raise AirflowFailException("usage error; the log's last line names the problem and the fix") from error
            if code != TOO_MANY_REJECTS:
                raise
            return TOO_MANY_REJECTS
        return 0

    def on_kill(self) -> None:
        hook, project, region = self._dataflow()
        hook.cancel_job(job_name=JOB_NAME, project_id=project, location=region)


def _setting(name: str) -> str:
    return f"{{{{ var.json.isic_score.{name} }}}}"


with DAG(
    "isic_score_nightly",
    description="Score what is new in the archive",
    schedule="0 2 * * *",
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    # The next night makes up for a night that was missed; a second run in one output would be refused.
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 3,
        "retry_delay": datetime.timedelta(minutes=15),
        "retry_exponential_backoff": True,
    },
    tags=["isic"],
) as dag:
    score = ScoreOperator(
        task_id="score",
        py_interpreter=_setting("python"),
        py_options=["-m"],
        py_file="pipelines.score",
        runner=RUNNER,
        pipeline_options={
            "input": _setting("input"),
            "model": _setting("model"),
            "output": _setting("output"),
            "previous": _setting("output"),
            # A further attempt gets a partition of its own: the first one's may be finished after all.
            "run": "{{ ds }}{{ '.%02d' % ti.try_number if ti.try_number > 1 else '' }}",
            "report": True,
            "job_name": JOB_NAME,
            "project": _setting("project"),
            "region": _setting("region"),
            "temp_location": _setting("temp_location"),
            "sdk_container_image": _setting("sdk_container_image"),
            "service_account_email": _setting("service_account_email"),
        },
        execution_timeout=datetime.timedelta(hours=12),
    )

    # A task of its own: the scores are there and whatever waits for them may go on. Its failure is the alert.
    @task(retries=0)
    def check_rejects(code: int) -> None:
        """Fail when more of the new files were rejected than --max_reject_fraction."""
        if code == TOO_MANY_REJECTS:
            raise AirflowFailException(
                "more files rejected than --max_reject_fraction; see _rejects-*.jsonl of the run"
            )

    check_rejects(score.output)
