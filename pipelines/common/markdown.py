"""Write Markdown: literal text, tables and code blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from pipelines.common.html import grouped

# Characters with a meaning in Markdown or in HTML inside it.
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>&~$^=:@-])")


def plain(text: str) -> str:
    """Escape text so that Markdown shows it literally in a line.

    Invisible characters become a backslash and their number.
    """
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )
    return _SPECIAL.sub(r"\\\1", shown)


def fenced(text: str) -> list[str]:
    """Return text as the lines of a shell code block."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}sh", text, fence]


def table(
    names: Sequence[str], rows: Iterable[Sequence[str | int]], right: Sequence[bool] | None = None
) -> Iterator[str]:
    """Yield the lines of a table.

    Args:
        names: Column headings.
        rows: Cells; strings must already be Markdown, integers are written with grouped digits.
        right: For each column, whether to align it right; None aligns those right that have an integer in the
            first row.
    """
    body = list(rows)
    if right is None:
        right = [bool(body) and isinstance(body[0][column], int) for column in range(len(names))]
    yield f"| {' | '.join(names)} |"
    yield f"| {' | '.join('---:' if number else '---' for number in right)} |"
    for row in body:
        yield f"| {' | '.join(grouped(cell) if isinstance(cell, int) else cell for cell in row)} |"
