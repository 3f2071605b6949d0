"""Check, before any work, that a command may read and write where it is going to, in whichever store that is."""

from __future__ import annotations

from pipelines.storage import gcs_access, s3_access
from pipelines.storage.s3_access import is_s3


def require_readable(option: str, path: str) -> list[str]:
    """Raise UsageError if a path in a bucket cannot be listed or read; other paths pass.

    A path without any object passes too; other checks report that.

    Args:
        option: Command-line option that names the path; it starts the error message.
        path: A folder, pattern, archive, archive member or object.

    Returns:
        Paths of some objects on `gs://` whose names begin with the path, up to its first wildcard.
    """
    if is_s3(path):
        s3_access.require_listed(option, path)
    return gcs_access.require_readable(option, path)


def require_writable(option: str, path: str) -> None:
    """Raise UsageError if files below a path in a bucket cannot be listed and, on `gs://`, written; other paths pass.

    The check leaves nothing behind.

    Args:
        option: Command-line option that names the path; it starts the error message.
        path: Folder to write to.
    """
    if is_s3(path):
        s3_access.require_listed(option, path)
    gcs_access.require_writable(option, path)
