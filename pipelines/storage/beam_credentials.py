"""Let Beam send requests to Google Cloud Storage without credentials where our own client does."""

from __future__ import annotations

import functools
from typing import Any

from pipelines.common.gcs_credentials import is_anonymous


@functools.cache
def ask_gcs_without_credentials() -> None:
    """Have Beam follow `is_anonymous`.

    By itself it pays no heed to --no_auth in a bucket, and where there are no credentials it looks for them for half a
    minute.
    """
    from apache_beam.internal.gcp import auth

    find = auth._Credentials._get_service_credentials

    def found(options: Any) -> Any:
        return None if is_anonymous() else find(options)

    setattr(auth._Credentials, "_get_service_credentials", staticmethod(found))  # noqa: B010  a type may not be assigned to
