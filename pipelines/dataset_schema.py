"""What a dataset.json must look like: schemas/dataset.schema.json, applied."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any

import jsonschema

# Of what the validator quotes, which may be all of the document.
_LONGEST = 160


@functools.cache
def dataset_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of dataset.json."""
    return json.loads((resources.files("pipelines") / "schemas" / "dataset.schema.json").read_text("utf-8"))


def schema_problem(description: Any) -> str:
    """What is wrong with a dataset.json, in one line that names the key; empty when it follows the schema.

    The same problem first, whatever the order of the keys.
    """
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
