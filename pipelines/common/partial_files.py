"""Names of local files that are being written, until they are complete and get their own."""

from __future__ import annotations

import uuid

_PARTIAL = ".partial"


def partial_name(path: str) -> str:
    """Return a new name under which a local file is written before it gets its own."""
    return f"{path}.{uuid.uuid4().hex[:16]}{_PARTIAL}"


def is_partial(name: str) -> bool:
    """Return whether a file has a `partial_name`: it is being written, or its program was killed while it wrote."""
    return name.endswith(_PARTIAL)
