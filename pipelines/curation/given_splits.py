"""Splits that a table gives."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.common.cli import UsageError
from pipelines.common.csv_tables import in_line
from pipelines.domain.dataset_json import SPLITS
from pipelines.domain.image_ids import image_id_of
from pipelines.domain.metadata_columns import Columns, cells_of, spelled
from pipelines.sources.metadata_tables import require_table, table_rows

SPLIT_COLUMN = "split"


def read_splits(path: str, columns: Columns) -> Iterator[tuple[str, str]]:
    """Read the table.

    Yields:
        The image id and the split of every row that has an id.
    """
    for row in table_rows(path):
        cell = cells_of(row)
        image = cell(columns.among(row).id_column(row) or "")
        if image:
            yield image_id_of(image), cell(SPLIT_COLUMN).lower()


def require_splits(path: str, columns: Columns) -> list[str]:
    """Return the columns of the file.

    Args:
        path: The file that --splits_file names.
        columns: The column names that options give.

    Raises:
        UsageError: Unless it is a CSV with image ids and known split names.
    """
    names = require_table("--splits_file", path).names
    if columns.among(names).id_column(names) is None or spelled(names, [SPLIT_COLUMN]) is None:
        raise UsageError(f"--splits_file {path}: needs an image id column and {SPLIT_COLUMN}; it has {in_line(names)}")
    for image, split in read_splits(path, columns):
        if split not in SPLITS:
            raise UsageError(f"--splits_file {path}: {image} has split {split!r}; {', '.join(SPLITS)} are known")
    return names
