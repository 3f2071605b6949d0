"""Validate a dataset.json against schemas/dataset.schema.json."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any

# Most characters to keep of a validator message, which may quote the whole document.
_LONGEST = 160


@functools.cache
def dataset_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of dataset.json."""
    return json.loads((resources.files("pipelines.dataset") / "schemas" / "dataset.schema.json").read_text("utf-8"))


def schema_problem(description: Any) -> str:
    """Return how a dataset.json violates the schema.

    Args:
        description: The parsed content of dataset.json.

    Returns:
        One line that names the key; empty if the document is valid. Of several problems, the choice does not depend on
        the order of the keys.
    """
    # Imported late: most commands that look for a dataset find none, and should say so at once.
    import jsonschema

    validator = jsonschema.Draft202012Validator(dataset_schema())
    problems = [
        (".".join(map(str, error.absolute_path)) or "the whole", " ".join(error.message.split()))
        for error in validator.iter_errors(description)
    ]
    if not problems:
        return ""
    where, message = min(problems)
    shown = message if len(message) <= _LONGEST else f"{message[: _LONGEST // 2]} … {message[-_LONGEST // 2 :]}"
    return f"{where}: {shown}"
