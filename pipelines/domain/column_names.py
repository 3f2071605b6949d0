"""Say in a message what columns a table has, and which known ones they resemble. Imports no Beam."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from pipelines.common.csv_tables import in_line
from pipelines.common.tables import column_key
from pipelines.domain.metadata_columns import ID_COLUMNS, LABEL_COLUMNS, TARGET_COLUMN, cells_of
from pipelines.domain.missing_values import flag_of, is_missing

# Characters of a message, which has the command's name before it and is a line of at most 300; and the least of them
# that column names get however long a path is.
LONGEST_MESSAGE = 270
_SHORTEST_LIST = 40
_KNOWN = (*ID_COLUMNS, "lesion_id", "patient_id", *LABEL_COLUMNS, TARGET_COLUMN, "copyright_license", "attribution")
_ALIKE = 0.7
_EXAMPLES = 3


def nearest_columns(names: Iterable[str]) -> dict[str, str]:
    """Return the known column that a column resembles, by its name, for the first few that resemble one."""
    found: dict[str, str] = {}
    for name in names:
        near = difflib.get_close_matches(column_key(name), _KNOWN, 1, _ALIKE)
        if near and near[0] != column_key(name):
            found[name] = near[0]
        if len(found) == _EXAMPLES:
            break
    return found


def columns_in(names: Sequence[str], room: int) -> str:
    """Return the columns of a table in words, with the known ones that they resemble.

    Args:
        names: The table's column names.
        room: Number of characters; the names that find no room are counted.
    """
    near = ", ".join(f"{in_line([name], 30)} for {known}" for name, known in nearest_columns(names).items())
    end = f"; nearest: {near}" if near else ""
    room = max(room - len(end), _SHORTEST_LIST)
    listed = in_line(names)
    if len(listed) > room:
        count = f" ({len(names)} columns)"
        listed = in_line(names, room - len(count) - 3) + count
    return f"{listed}{end}"


def strange_flags(rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> str:
    """Return a note on the first of some columns with values that are neither yes nor no; empty if all are.

    Args:
        rows: Rows of a table.
        columns: Its one-hot columns and its target.
    """
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        cell = cells_of(row)
        for name in columns:
            if (value := cell(name)) and flag_of(value) is None and not is_missing(value):
                found.setdefault(name, {})[value] = None
    if not found:
        return ""
    name, values = next(iter(found.items()))
    said = ", ".join(repr(value[:20]) for value in list(values)[:_EXAMPLES])
    return f"has values in column {name} that are neither yes nor no, nor 1 or 0, and count as nothing: {said}"
