"""A job as Flink itself knows it, by its REST interface: its page, and how to cancel it.

Beam's job server for Flink calls a job cancelled when it no longer waits for it. The job itself goes on.
"""

from __future__ import annotations

import http
import json
import urllib.error
import urllib.request
from typing import Any

from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners.portability.flink_runner import MAGIC_HOST_NAMES

# Of Beam's option --flink_master, which the job server sets if the command does not.
_MASTER = "beam:option:flink_master:v1"
_SECONDS = 10.0
_OVER = ("FINISHED", "FAILED", "CANCELED")


def flink_address(service: beam_job_api_pb2_grpc.JobServiceStub, job_id: str) -> str:
    """Return the address of the Flink that runs a job; empty if its job server knows none.

    Args:
        service: The job server.
        job_id: The job's id there.

    Raises:
        grpc.RpcError: The job server does not answer, or does not list its jobs.
    """
    for job in service.GetJobs(beam_job_api_pb2.GetJobsRequest(), timeout=_SECONDS).job_info:
        if job.job_id == job_id and _MASTER in job.pipeline_options:
            master = str(job.pipeline_options[_MASTER])
            if master not in MAGIC_HOST_NAMES:
                return master if "://" in master else f"http://{master}"
    return ""


class FlinkJob:
    """A job of Flink's.

    Args:
        address: Flink's own.
        job_id: The job's id at the job server: its name and a unique part.
    """

    def __init__(self, address: str, job_id: str):
        self.address = address
        self._name = job_id.rpartition("_")[0]
        # Flink's own; empty as long as it has not got the job.
        self._id = ""

    def page(self) -> str:
        """Return the job's page; empty as long as Flink has not got the job.

        Raises:
            OSError: Flink cannot be asked from here.
        """
        if not self._id:
            named = [job for job in self._ask("GET", "/jobs/overview")["jobs"] if job["name"] == self._name]
            if not named:
                return ""
            self._id = max(named, key=lambda job: job["start-time"])["jid"]
        return f"{self.address}/#/job/running/{self._id}/overview"

    def cancel(self) -> None:
        """Have the job cancelled, if Flink has it and it has not ended.

        Raises:
            OSError: Flink cannot be asked from here.
        """
        if self.page():
            try:
                self._ask("PATCH", f"/jobs/{self._id}?mode=cancel")
            except urllib.error.HTTPError as error:
                if error.code != http.HTTPStatus.CONFLICT:
                    raise

    def is_over(self) -> bool:
        """Return whether Flink has the job and it has ended.

        Raises:
            OSError: Flink cannot be asked from here.
        """
        return bool(self.page()) and self._ask("GET", f"/jobs/{self._id}")["state"] in _OVER

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.address}{path}", method=method)
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            return json.load(answer)
