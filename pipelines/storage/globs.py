"""Patterns of paths, with one meaning on every filesystem: Beam's, where `*` ends at a slash and `**` does not."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

_WILDCARDS = "*?["


def has_wildcard(path: str) -> bool:
    """Return whether a path contains a wildcard and so may match several files."""
    return any(character in path for character in _WILDCARDS)


def _set_end(pattern: str, start: int) -> int:
    """Return where the set that begins at `start` ends, or -1; a `]` in its first place belongs to it."""
    first = start + 1 if pattern[start : start + 1] == "!" else start
    return pattern.find("]", first + 1)


def _set(characters: str) -> str:
    characters = characters.replace("\\", "\\\\")
    if characters.startswith("!"):
        return f"[^{characters[1:]}]"
    return f"[\\{characters}]" if characters.startswith("^") else f"[{characters}]"


def matcher(pattern: str) -> re.Pattern[str]:
    """Return the regular expression that matches the whole path of files that a pattern names.

    Raises:
        re.error: If a set of characters holds an impossible range.
    """
    parts, place = [], 0
    while place < len(pattern):
        character, end = pattern[place], -1
        if pattern.startswith("**", place):
            parts.append(".*")
            place += 1
        elif character == "*":
            parts.append(r"[^/\\]*")
        elif character == "?":
            parts.append(".")
        elif character == "[" and (end := _set_end(pattern, place + 1)) > 0:
            parts.append(_set(pattern[place + 1 : end]))
            place = end
        else:
            parts.append(re.escape(character))
        place += 1
    return re.compile("".join(parts) + r"\Z", re.MULTILINE | re.DOTALL)


def _may_hold(pattern: str, folder: str) -> bool:
    """Return whether files below a folder may match a pattern."""
    parts, names = re.split(r"[/\\]", pattern), re.split(r"[/\\]", folder)
    for part, name in zip(parts, names, strict=False):
        if "**" in part:
            return True
        if not matcher(part).match(name):
            return False
    return len(names) < len(parts)


def match_local(pattern: str, closed: Callable[[OSError], object] | None = None) -> Iterator[str]:
    """Yield the paths of local files that match a pattern; folders only where it has no wildcard.

    Args:
        pattern: The pattern.
        closed: Told why a folder that may hold matches cannot be listed; without it, such folders are passed over.

    Raises:
        re.error: If a set of characters holds an impossible range.
    """
    if pattern.endswith(("/", "\\")):
        pattern += "*"
    if not has_wildcard(pattern):
        if os.path.exists(pattern):
            yield pattern
        return
    matches = matcher(pattern).match
    fixed = re.split(f"[{re.escape(_WILDCARDS)}]", pattern, maxsplit=1)[0]

    def note(error: OSError) -> None:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        if closed and not missing and _may_hold(pattern, error.filename):
            closed(error)

    for parent, _, names in os.walk(os.path.dirname(fixed), onerror=note):
        for name in names:
            path = os.path.join(parent, name)
            if matches(path) and os.path.exists(path):
                yield path
