"""Remember the job that goes on when its command has ended, and ask whether it has ended too."""

from __future__ import annotations

import json
from typing import NamedTuple

from pipelines.storage import filesystem

_FILE = "job.json"
# Of Dataflow's API.
_ENDED = {f"JOB_STATE_{state}" for state in ("DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINED")}
_SECONDS = 20


class LeftJob(NamedTuple):
    """A job of a remote runner."""

    name: str  # for people: runner, id, where to look
    state_url: str = ""  # where Dataflow says its state; empty: nobody can be asked


def remember_job(folder: str, job: LeftJob) -> None:
    """Write down in the folder of its attempt which job goes on without its command."""
    filesystem.write_bytes(filesystem.join(folder, _FILE), json.dumps(job._asdict()).encode())


def unfinished_job(folder: str) -> str:
    """Return the name of an attempt's job, unless there is none or it is known to have ended: then nothing."""
    content = filesystem.read_if_exists(filesystem.join(folder, _FILE))
    if content is None:
        return ""
    job = LeftJob(**json.loads(content))
    return "" if job.state_url and _state(job.state_url) in _ENDED else job.name


def _state(url: str) -> str:
    """Return the state of a Dataflow job; empty if it cannot be had."""
    import google.auth
    import requests
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import AuthorizedSession

    try:
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        return AuthorizedSession(credentials).get(url, timeout=_SECONDS).json().get("currentState", "")
    except (GoogleAuthError, requests.RequestException, ValueError):
        return ""
