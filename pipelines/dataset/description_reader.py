"""Read the description of a finished dataset from its folder."""

from __future__ import annotations

import contextlib
import json

from pipelines.common.cli import UsageError
from pipelines.dataset.description_schema import schema_problem
from pipelines.domain.dataset_json import DATASET_JSON, DatasetDescription, description_of, require_version
from pipelines.storage import filesystem
from pipelines.storage.errors import StorageError


def described(content: bytes, place: str) -> DatasetDescription:
    """Return what a dataset.json says, once its schema agrees.

    Args:
        content: The file.
        place: How messages refer to the dataset.

    Raises:
        UsageError: It has another schema version.
        ValueError: It is damaged; the message is one line.
    """
    try:
        values = json.loads(content)
    except ValueError as error:
        raise ValueError(f"is no JSON ({error})") from error
    # The schema names what is missing.
    with contextlib.suppress(KeyError, TypeError):
        require_version(values, place)
    if problem := schema_problem(values):
        raise ValueError(problem)
    try:
        return description_of(values)
    except KeyError as error:
        raise ValueError(f"has no {error}, which it names elsewhere") from error


def read_description(place: str, folder: str) -> DatasetDescription | None:
    """Return what the dataset.json of a folder says; None if it does not exist: the folder has no finished dataset.

    Args:
        place: How messages refer to the dataset.
        folder: The folder of the dataset; local or gs://.

    Raises:
        UsageError: dataset.json cannot be read, is damaged or has another schema version.
    """
    try:
        content = filesystem.read_if_exists(filesystem.join(folder, DATASET_JSON))
    except StorageError as error:
        raise UsageError(f"{place}: {DATASET_JSON} cannot be read: {error}") from error
    try:
        return None if content is None else described(content, place)
    except ValueError as error:
        raise UsageError(f"{place}: {DATASET_JSON} cannot be read: {error}") from error


def require_unchanged(place: str, folder: str, description: DatasetDescription) -> None:
    """Raise UsageError if a dataset is no longer the one that was opened: a run has replaced it since.

    Args:
        place: How messages refer to the dataset.
        folder: The folder of the dataset; local or gs://.
        description: What its dataset.json said.
    """
    with contextlib.suppress(StorageError, ValueError):
        content = filesystem.read_if_exists(filesystem.join(folder, DATASET_JSON))
        if content is not None and json.loads(content) == description.document:
            return
    raise UsageError(f"{place}: was replaced while it was read; give the same command again")


def require_description(option: str, folder: str) -> DatasetDescription:
    """Return what the dataset.json of a finished dataset says.

    Args:
        option: The option that names the dataset, for messages.
        folder: The folder of the dataset; local or gs://.

    Raises:
        UsageError: There is no dataset.json, or it cannot be read; see `read_description`.
    """
    description = read_description(f"{option} {folder}", folder)
    if description is None:
        raise UsageError(f"{option} {folder}: holds no finished dataset (no {DATASET_JSON})")
    return description
