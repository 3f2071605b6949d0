"""Write the table of published sets in docs/sources.md from what their layouts declare."""

from __future__ import annotations

from pipelines.domain.layout import Origin
from pipelines.domain.layout_registry import LAYOUTS

_TITLES = Origin("where to get it", "images", "licence", "lesions and patients", "`--classes`", "input")


def _line(name: str, origin: Origin) -> str:
    return f"| {' | '.join((name, *origin[:-1], f'`{origin.command}`'))} |"


def markdown() -> str:
    """Return the table of published sets, one line a layout."""
    lines = [
        f"| {' | '.join(('layout', *_TITLES))} |",
        f"| {' | '.join(['---'] * (len(_TITLES) + 1))} |",
        *(_line(f"`{name}`", layout.origin) for name, layout in LAYOUTS.items() if layout.origin),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
