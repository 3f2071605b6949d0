"""A path that a job reads or writes, with the option that names it."""

from __future__ import annotations

from typing import NamedTuple


class Location(NamedTuple):
    """A path that a job reads or writes."""

    option: str  # that names the path; it starts error messages
    path: str
    is_input: bool = False  # whether images are read from it
