"""The question of every job to an input, asked of one alone."""

from __future__ import annotations

from pipelines.sources.location import Location
from pipelines.sources.locations import Locations


def require_images(option: str, path: str, records: bool = False) -> None:
    """Raise UsageError unless an input exists and holds images, or records if these are accepted."""
    Locations([Location(option, path, is_input=True)]).require_images(records)
