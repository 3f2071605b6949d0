"""Say which folder names and values of tables stand for no class, and which class each resembles."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from pipelines.domain.spelling import usual_spelling
from pipelines.domain.taxonomy import ClassSet, normalize_term

# Labels in a message, and characters of each.
_SHOWN = 5
_LONGEST = 40
# Fewer letters resemble too much.
_SHORTEST = 4
# Least similarity, see `difflib.get_close_matches`: at 0.6 carcinoma resembles angioma.
_ALIKE = 0.75


def nearest_class(label: str, class_set: ClassSet) -> str:
    """Return the class whose terms a label resembles most; empty if none does, or if the label is a known diagnosis.

    Args:
        label: A label that stands for no class.
        class_set: The classes.
    """
    term = usual_spelling(normalize_term(label))
    if len(term) < _SHORTEST or term in class_set.terms:
        return ""
    known = {usual_spelling(name): classes[0] for name, classes in class_set.terms.items() if classes}
    if alike := difflib.get_close_matches(term, known, 1, _ALIKE):
        return known[alike[0]]
    within = [name for name in known if len(name) >= _SHORTEST and _has_words(term, name)]
    if within:
        return known[min(within, key=lambda name: (-len(name), name))]
    around = {classes for name, classes in known.items() if _has_words(name, term)}
    return around.pop() if len(around) == 1 else ""


def _has_words(term: str, words: str) -> bool:
    return f" {words} " in f" {term} "


def _described(label: str, files: int, class_set: ClassSet) -> str:
    if not label:
        return f"no label at all {files}"
    near = nearest_class(label, class_set)
    shown = label if len(label) <= _LONGEST else f"{label[: _LONGEST - 3]}..."
    return f"{shown!r} {files}" + (f" (nearest {near!r})" if near else "")


def not_understood(labels: Sequence[tuple[str, int]], class_set: ClassSet) -> str:
    """Return the part of a message about labels without a class, empty if there are none.

    Args:
        labels: Labels and their numbers of files, most frequent first.
        class_set: The classes.
    """
    if not labels:
        return ""
    named = ", ".join(_described(label, files, class_set) for label, files in labels[:_SHOWN])
    more = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
    return f"; not understood: {named}{more}"
