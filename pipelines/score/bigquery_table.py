"""The name of a BigQuery table, and where the files are that it loads."""

from __future__ import annotations

import hashlib
import re

from pipelines.common.cli import UsageError
from pipelines.common.gcs_client import is_gs

# Google's naming rules: a project may have a domain prefix; a dataset has letters, digits and underscores; a table
# may have dashes too.
_TABLE = re.compile(
    r"(?P<project>(?:[a-z0-9-]+(?:\.[a-z0-9-]+)+:)?[a-z][a-z0-9-]{4,28}[a-z0-9])"
    r"[:.](?P<dataset>\w{1,1024})\.(?P<table>[\w-]{1,1024})",
    re.ASCII,
)


def parse_table(text: str) -> str:
    """Return the name of a table in the form `PROJECT:DATASET.TABLE`.

    Args:
        text: The name in that form, or as `PROJECT.DATASET.TABLE`.

    Raises:
        UsageError: The text has another form.
    """
    found = _TABLE.fullmatch(text)
    if not found:
        raise UsageError(f"--output_table {text!r}: is no table; name it as PROJECT:DATASET.TABLE")
    return f"{found['project']}:{found['dataset']}.{found['table']}"


def load_folder(temp_location: str, output: str) -> str:
    """Return the folder for the load files of an output's runs.

    One run at a time works in an output, so whatever lies there when a run begins was left by one that was killed.

    Args:
        temp_location: Beam's --temp_location.
        output: The output.
    """
    name = hashlib.sha256(output.rstrip("/").encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return f"{temp_location.rstrip('/')}/load-{name}"


def require_temp_location(temp_location: str | None) -> str:
    """Return the folder for BigQuery's load files; raise UsageError unless it is on gs://."""
    if not is_gs(temp_location or ""):
        given = f"--temp_location {temp_location}" if temp_location else "--output_table"
        raise UsageError(f"{given}: BigQuery loads files from gs:// only; add --temp_location gs://BUCKET/FOLDER")
    return str(temp_location)
