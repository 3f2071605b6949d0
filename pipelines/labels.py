"""Which class an image has, from everything that its folders and tables say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pipelines.taxonomy import ClassSet

# The source name of what folders say.
FOLDER = "folder"


class Claim(NamedTuple):
    """What folders or a table say of one image.

    source: FOLDER, or the table's name; labels: as written, most precise first; classes: what they may stand for.
    owners: the names of the inputs to which the folders or the table belong; none for a table that speaks of all.
    """

    source: str
    labels: tuple[str, ...]
    classes: tuple[str, ...]
    owners: tuple[str, ...] = ()


class Decision(NamedTuple):
    """A label, or the reason and message of a rejection."""

    label: str = ""
    reason: str = ""
    message: str = ""


def make_claim(source: str, labels: Sequence[str], class_set: ClassSet, owners: tuple[str, ...] = ()) -> Claim:
    """A source's labels as a claim; it has no classes when none of the labels stands for one."""
    return Claim(source, tuple(labels), class_set.classes_of(labels), owners)


def folder_claim(folders: Sequence[str], class_set: ClassSet, owners: tuple[str, ...] = ()) -> Claim:
    """What the folders of a file say, the innermost first: the first that stands for a class, or all of them."""
    telling = next(([name] for name in folders if class_set.classes_of([name])), folders)
    return make_claim(FOLDER, telling, class_set, owners)


def _said(claims: Iterable[Claim]) -> str:
    return ", ".join(sorted({f"{claim.labels[0]!r} ({claim.source})" for claim in claims if claim.labels}))


def trusted(claims: Iterable[Claim], trust: str) -> list[Claim]:
    """The claims that `trust` names: FOLDER, a table's name or its end (`metadata.csv` of `kaggle/metadata.csv`).

    Where no claim is called so: those of an input of this name, its folders' and its tables'.
    """
    claims = list(claims)
    called = [claim for claim in claims if claim.source == trust or claim.source.endswith(f"/{trust}")]
    return called or [claim for claim in claims if trust in claim.owners]


def decide(claims: Iterable[Claim], trust: str = "") -> Decision:
    """The class on which all claims that stand for one agree; the order of the claims does not matter.

    A vague claim (HAM10000's akiec is one of two classes) agrees with a precise one within it; alone it counts as its
    likeliest class. `trust` (see `trusted`) outranks the others where it says something. Reasons: `unmapped_label`
    when no claim stands for a class, `label_conflict` when claims have no class in common.
    """
    claims = sorted(set(claims))
    telling = [claim for claim in claims if claim.classes]
    if not telling:
        return Decision(
            reason="unmapped_label", message=f"no class for {_said(claims) or 'an image without any label'}"
        )
    telling = (trusted(telling, trust) if trust else []) or telling
    most_precise = min(telling, key=lambda claim: len(claim.classes))
    common = [name for name in most_precise.classes if all(name in claim.classes for claim in telling)]
    if not common:
        return Decision(reason="label_conflict", message=f"filed as {_said(telling)}")
    return Decision(label=common[0])
