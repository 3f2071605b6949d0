"""Claims of jobs on outputs, on every kind of path; see `pipelines.common.claims`."""

from __future__ import annotations

from pipelines.common.claims import CLAIM, SILENCE, TEMPORARY, Claim, FolderClaims, claim_path, new_claim
from pipelines.storage import exclusive_file, left_job

__all__ = [
    "CLAIM",
    "SILENCE",
    "TEMPORARY",
    "Claim",
    "claim_path",
    "end",
    "new_claim",
    "read_claim",
    "release",
    "renewed",
    "require_free",
    "take",
]

_CLAIMS = FolderClaims(exclusive_file, left_job.unfinished_job)

read_claim = _CLAIMS.read
require_free = _CLAIMS.require_free
take = _CLAIMS.take
release = _CLAIMS.release
end = _CLAIMS.end
renewed = _CLAIMS.renewed
