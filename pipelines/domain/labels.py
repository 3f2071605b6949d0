"""Decide the class of an image from the claims of its folders and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pipelines.domain.missing_values import is_missing
from pipelines.domain.taxonomy import ClassSet

# The source name of claims made by folders.
FOLDER = "folder"


class Claim(NamedTuple):
    """What the folders or one table say about the class of one image."""

    source: str  # FOLDER, or the table's name
    labels: tuple[str, ...]  # as written, most precise first
    classes: tuple[str, ...]  # that the labels may stand for, likeliest first
    owners: tuple[str, ...] = ()  # names of the inputs that the source belongs to; empty for a table of all inputs


class ResolvedLabel(NamedTuple):
    """The label of an image, or the reason and message of its rejection."""

    label: str = ""
    reason: str = ""
    message: str = ""
    classes: tuple[str, ...] = ()  # those that the claims leave possible, likeliest first: the label is the first


def make_claim(source: str, labels: Sequence[str], class_set: ClassSet, owners: tuple[str, ...] = ()) -> Claim:
    """Make a claim from the labels of a source.

    Args:
        source: FOLDER, or the table's name.
        labels: Labels as written, most precise first.
        class_set: Classes that the labels may stand for.
        owners: Names of the inputs that the source belongs to.

    Returns:
        The claim. It has no classes if none of the labels stands for one.
    """
    return Claim(source, tuple(labels), class_set.classes_of(labels), owners)


def table_claims(
    source: str, labels: Sequence[str], hot: Sequence[str], class_set: ClassSet, owners: tuple[str, ...] = ()
) -> list[Claim]:
    """Make the claims of one row of a table.

    A placeholder such as `unknown` is no label, unless the class set knows it. A broader label that has no class in
    common with the most precise one contradicts it, as `malignant` does `nevus`. Two one-hot columns that hold 1 and
    have no class in common contradict each other, whether or not they stand for classes of this set.

    Args:
        source: The table's name.
        labels: Labels as written, most precise first.
        hot: One-hot columns that hold 1.
        class_set: Classes that the labels may stand for.
        owners: Names of the inputs that the table belongs to.
    """
    said = [label for label in labels if class_set.classes_of([label]) or not is_missing(label)]
    claims = [make_claim(source, said, class_set, owners)] if said else []
    claims += [
        broader
        for claim in tuple(claims)
        for broader in (make_claim(source, [label], class_set, owners) for label in said[1:])
        if claim.classes and broader.classes and set(claim.classes).isdisjoint(broader.classes)
    ]
    columns = [make_claim(source, [name], class_set, owners) for name in hot]
    if len(columns) > 1 and not set.intersection(*(set(claim.classes) for claim in columns)):
        columns = [claim._replace(classes=claim.classes or claim.labels) for claim in columns]
    return claims + columns


def folder_claim(folders: Sequence[str], class_set: ClassSet, owners: tuple[str, ...] = ()) -> Claim:
    """Make a claim from the names of the folders that hold a file.

    Args:
        folders: Folder names, innermost first. If one stands for a class, the claim has the first such folder as its
            only label; otherwise it has all of them.
        class_set: Classes that folder names may stand for.
        owners: Names of the inputs that the folders belong to.
    """
    telling = class_set.telling(folders)
    return make_claim(FOLDER, folders if telling is None else [telling], class_set, owners)


def _said(claims: Iterable[Claim]) -> str:
    return ", ".join(sorted({f"{claim.labels[0]!r} ({claim.source})" for claim in claims if claim.labels}))


def trusted(claims: Iterable[Claim], trust: str) -> list[Claim]:
    """Return the claims of a trusted source.

    Args:
        claims: Claims about one image.
        trust: FOLDER, or a table's name or the end of its path (`metadata.csv` for `kaggle/metadata.csv`). If no claim
            has such a source, the name of an input, which selects the claims of its folders and tables.
    """
    claims = list(claims)
    called = [claim for claim in claims if claim.source == trust or claim.source.endswith(f"/{trust}")]
    return called or [claim for claim in claims if trust in claim.owners]


def claimed_classes(claims: Iterable[Claim]) -> tuple[str, ...]:
    """Return the classes that the claims of a conflict disagree on, sorted.

    A vague claim is omitted if it covers a class that another claim names precisely.
    """
    said = {claim.classes for claim in claims if claim.classes}
    precise = {classes[0] for classes in said if len(classes) == 1}
    vague = {" or ".join(classes) for classes in said if len(classes) > 1 and not precise.intersection(classes)}
    return tuple(sorted(precise | vague))


def resolve_label(claims: Iterable[Claim], trust: str = "") -> ResolvedLabel:
    """Return the class on which all claims with a class agree, regardless of their order.

    A vague claim (HAM10000's akiec is one of two classes) agrees with a precise one within it. Alone it counts as its
    likeliest class.

    Args:
        claims: Claims about one image.
        trust: The source that outranks the others if it has a claim with a class, see `trusted`; empty for none.

    Returns:
        The label; or the rejection, with the reason `unmapped_label` if no claim has a class, or `label_conflict` if
        the claims have no class in common.
    """
    claims = sorted(set(claims))
    telling = [claim for claim in claims if claim.classes]
    if not telling:
        return ResolvedLabel(
            reason="unmapped_label", message=f"no class for {_said(claims) or 'an image without any label'}"
        )
    telling = (trusted(telling, trust) if trust else []) or telling
    most_precise = min(telling, key=lambda claim: len(claim.classes))
    common = [name for name in most_precise.classes if all(name in claim.classes for claim in telling)]
    if not common:
        return ResolvedLabel(reason="label_conflict", message=f"filed as {_said(telling)}")
    return ResolvedLabel(label=common[0], classes=tuple(common))
