"""Name options that are unknown, each with the one that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

# Least similarity of an option to the one that was probably meant, see `difflib.get_close_matches`.
_ALIKE = 0.85


def nearest(option: str, known: Collection[str]) -> str | None:
    """Return the known option that resembles an unknown one most; None if none resembles it."""
    return next(iter(difflib.get_close_matches(option, sorted(known), 1, _ALIKE)), None)


def unknown_options(options: Iterable[str], known: Collection[str]) -> str:
    """Return one text that names all unknown options, such as `unknown option --ouput (nearest --output)`.

    Args:
        options: Options without their values; at least one.
        known: All options that are known.
    """
    named = [
        f"{option} (nearest {near})" if (near := nearest(option, known)) else option
        for option in dict.fromkeys(options)
    ]
    return f"unknown option{'s' * (len(named) > 1)} {', '.join(named)}"
