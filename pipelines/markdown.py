"""Markdown: text that says just itself, tables, blocks of code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from pipelines.html import grouped

# What Markdown or the HTML within it would take for more than text.
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>&~$^=:@-])")


def plain(text: str) -> str:
    """Text that says just itself in a line of Markdown; what cannot be seen stands as a backslash and its number."""
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )
    return _SPECIAL.sub(r"\\\1", shown)


def fenced(text: str) -> list[str]:
    """Text as a block of code."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}sh", text, fence]


def table(
    names: Sequence[str], rows: Iterable[Sequence[str | int]], right: Sequence[bool] | None = None
) -> Iterator[str]:
    """Texts to the left, numbers to the right, unless `right` says it of each column. Texts are taken as they are."""
    body = list(rows)
    if right is None:
        right = [bool(body) and isinstance(body[0][column], int) for column in range(len(names))]
    yield f"| {' | '.join(names)} |"
    yield f"| {' | '.join('---:' if number else '---' for number in right)} |"
    for row in body:
        yield f"| {' | '.join(grouped(cell) if isinstance(cell, int) else cell for cell in row)} |"
