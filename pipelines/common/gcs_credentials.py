"""Whether requests to Google Cloud Storage are signed: one rule for our client and for Beam's.

They are not if Beam's option --no_auth says so, or where google-auth finds no credentials. What everyone may read is
then read; anything else the store refuses.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from typing import Any

# Where google-auth looks for credentials.
_VARIABLES = ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG", "HOME", "NO_GCE_CHECK", "GCE_METADATA_HOST")
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
# Set in the processes of a command that was given --no_auth.
_NO_AUTH = "ISIC_LESION_PIPELINES_NO_AUTH"
_looking = threading.Lock()


def is_anonymous() -> bool:
    """Return whether requests are sent without credentials."""
    return is_told_anonymous() or bool(missing_credentials())


def missing_credentials() -> str:
    """Return what google-auth says if it finds no credentials, else "".

    It is asked once in a process: where there are none, it waits seconds for the metadata server of a virtual machine.
    """
    with _looking:
        return _missing(tuple(os.environ.get(name, "") for name in _VARIABLES))


@functools.lru_cache(maxsize=8)
def _missing(values: tuple[str, ...]) -> str:
    if values[0]:
        # What the user names is meant; what is wrong with it shows when it is used.
        return ""
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        google.auth.default(scopes=[_SCOPE])
    except DefaultCredentialsError as error:
        return str(error).partition(". To set up")[0] or "none are found"
    return ""


def tell_processes(no_auth: bool) -> None:
    """Let this process and those that it starts know whether Beam was given --no_auth.

    Beam's local runner gives its worker processes no options.
    """
    if no_auth:
        os.environ[_NO_AUTH] = "1"
    else:
        os.environ.pop(_NO_AUTH, None)


def is_told_anonymous() -> bool:
    """Return whether Beam was given --no_auth, in this process or by the command whose job this process works on."""
    if os.environ.get(_NO_AUTH):
        return True
    # Looked up rather than imported: a process without Beam has no such option, and Beam takes seconds to start.
    filesystems = sys.modules.get("apache_beam.io.filesystems")
    options = filesystems.FileSystems._pipeline_options if filesystems else None
    return options is not None and _no_auth(_Identity(options))


class _Identity:
    """Options of Beam as a key: they are the same only if they are the same object."""

    def __init__(self, options: Any):
        self.options = options

    def __hash__(self) -> int:
        return id(self.options)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.options is other.options


@functools.lru_cache(maxsize=4)
def _no_auth(key: _Identity) -> bool:
    # Beam parses a whole command line each time it is asked for an option.
    options = key.options
    if isinstance(options, dict):
        return bool(options.get("no_auth"))
    return bool(options.view_as(sys.modules["apache_beam.options.pipeline_options"].GoogleCloudOptions).no_auth)
