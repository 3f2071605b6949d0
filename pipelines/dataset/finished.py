"""A finished dataset: its folder, with what its dataset.json says."""

from __future__ import annotations

from typing import NamedTuple

from pipelines.common.cli import CheckFailed, UsageError
from pipelines.common.gcs_client import ServiceUnavailable
from pipelines.dataset.description_reader import described
from pipelines.domain.dataset_json import DATASET_JSON, DatasetDescription
from pipelines.storage import claims, filesystem, output
from pipelines.storage.errors import StorageError


class Dataset(NamedTuple):
    """A finished dataset."""

    folder: str
    description: DatasetDescription
    names: frozenset[str]  # every file in the folder, as a path relative to it

    def read(self, name: str) -> bytes:
        """Read a whole file of the dataset.

        Args:
            name: The path of the file, relative to the folder.

        Raises:
            CheckFailed: The file is missing or cannot be read.
        """
        if name not in self.names:
            raise CheckFailed(f"{name} is missing")
        return _read(self.folder, name)


def _read(folder: str, name: str) -> bytes:
    try:
        return filesystem.read_bytes(filesystem.join(folder, name))
    except (StorageError, ServiceUnavailable) as error:
        raise CheckFailed(f"{name}: cannot be read: {error}") from error


def open_dataset(folder: str, option: str) -> Dataset:
    """Open a finished dataset and validate its dataset.json against the schema.

    Args:
        folder: The folder of the dataset; local or gs://.
        option: The command-line option that names the folder, for error messages.

    Raises:
        UsageError: The folder has no finished dataset, or one of another version, or is being written, or cannot be
            listed.
        CheckFailed: dataset.json cannot be read, is not JSON, or violates the schema.
    """
    where = f"{option} {folder}"
    try:
        names = frozenset(filesystem.list_tree(folder))
        if output.is_unfinished(names):
            claims.require_free(folder, option)
    except StorageError as error:
        raise UsageError(f"{where}: cannot be read: {error}") from error
    if not names:
        raise UsageError(f"{where}: no such folder, or nothing in it; name one that python -m pipelines.prepare wrote")
    if DATASET_JSON not in names:
        if output.is_unfinished(names):
            raise UsageError(f"{where}: unfinished; the prepare command that began it, given again, finishes it")
        raise UsageError(
            f"{where}: no dataset (no {DATASET_JSON}); name a folder that python -m pipelines.prepare wrote"
        )
    try:
        return Dataset(folder, described(_read(folder, DATASET_JSON), where), names)
    except CheckFailed:
        # A run has begun to replace it since it was listed.
        claims.require_free(folder, option)
        raise
    except ValueError as error:
        raise CheckFailed(f"{DATASET_JSON}: {error}") from error
