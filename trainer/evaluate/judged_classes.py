"""The classes that figures are of: those of the model, but several as one where labels do not tell them apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

_OR = " or "


class JudgedClasses(NamedTuple):
    """The classes that figures are of."""

    names: tuple[str, ...]  # `A or B` where the labels do not tell A from B
    members: tuple[tuple[int, ...], ...]  # the model's classes in each


def members_of(count: int, joined: Iterable[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Return the model's classes in each class that figures are of; see `judged_classes`."""
    together = {label: tuple(sorted(labels)) for labels in joined for label in labels}
    return tuple(dict.fromkeys(together.get(label, (label,)) for label in range(count)))


def judged_classes(classes: Sequence[str], joined: Iterable[Sequence[int]] = ()) -> JudgedClasses:
    """Return the classes that figures are of, each in the place of the first of its members.

    Args:
        classes: The model's class names in label order.
        joined: Sets of classes that are judged as one; no class is in two of them.
    """
    members = members_of(len(classes), joined)
    return JudgedClasses(tuple(_OR.join(classes[label] for label in labels) for labels in members), members)


def parts_of(name: str) -> list[str]:
    """Return the names that may have been joined to a name; the name itself, if there is no sign of that."""
    return name.split(_OR)


def labels_named(name: str, classes: Sequence[str]) -> tuple[int, ...]:
    """Return the labels of the classes in a name that `judged_classes` made; empty if it is no such name."""
    found: list[int] = []
    rest = name
    for label, one in enumerate(classes):
        if rest == one:
            return (*found, label)
        if rest.startswith(one + _OR):
            found.append(label)
            rest = rest.removeprefix(one + _OR)
    return ()
