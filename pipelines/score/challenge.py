"""The tables that ISIC challenges want, and how a model's classes fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipelines.common.cli import UsageError
from pipelines.common.text import printable
from pipelines.domain.diagnoses import CLASS_SETS, TABLE
from pipelines.domain.taxonomy import built_in_set, normalize_term

# Challenge column for images of none of the training classes. A model without such a class gives 0.
_UNKNOWN = "UNK"


class _Form(NamedTuple):
    """The table of a challenge."""

    name: str
    class_set: str  # name of the class set in the taxonomy
    columns: Mapping[str, str]  # column name in the CSV -> class of the set


# In order of preference: the form that separates more diagnoses comes first.
_FORMS = {
    "2019": _Form(
        "ISIC 2019",
        "isic2019",
        {
            "MEL": "melanoma",
            "NV": "nevus",
            "BCC": "basal cell carcinoma",
            "AK": "actinic keratosis",
            "BKL": "benign keratosis",
            "DF": "dermatofibroma",
            "VASC": "vascular lesion",
            "SCC": "squamous cell carcinoma",
            _UNKNOWN: "unknown",
        },
    ),
    "2018": _Form(
        "ISIC 2018 task 3",
        "ham7",
        {"MEL": "mel", "NV": "nv", "BCC": "bcc", "AKIEC": "akiec", "BKL": "bkl", "DF": "df", "VASC": "vasc"},
    ),
}
YEARS = tuple(_FORMS)


class Challenge(NamedTuple):
    """A mapping from a model's labels to the columns of a challenge."""

    name: str
    columns: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]  # for each column, the labels to sum


def _stands_for(name: str, form: _Form) -> str:
    """Return the form's class that a model's class belongs to; empty if there is none or it is ambiguous."""
    term = normalize_term(name)
    if term in form.columns.values():
        return term
    found = built_in_set(form.class_set).classes_of([name])
    if not found:
        # The class covers several diagnoses, and the form's set has only some of them: those decide.
        lines = (line for line in TABLE if term in (*line.isic9, *line.isic2019, *line.ham7))
        found = tuple(dict.fromkeys(other for line in lines for other in getattr(line, form.class_set)))
    return found[0] if len(found) == 1 else ""


def _fit(classes: Sequence[str], form: _Form) -> Challenge | None:
    """Map the classes to the form; None if a class has no column or a column other than `UNK` has no class."""
    meant = [_stands_for(name, form) for name in classes]
    labels = tuple(
        tuple(label for label, found in enumerate(meant) if found == wanted) for wanted in form.columns.values()
    )
    filled = all(labels[index] for index, column in enumerate(form.columns) if column != _UNKNOWN)
    return Challenge(form.name, tuple(form.columns), labels) if filled and all(meant) else None


def challenge_for(classes: Sequence[str], year: str = "") -> Challenge:
    """Return the challenge that a model's classes fit.

    Args:
        classes: Names of the model's classes, in label order.
        year: One of YEARS; empty tries all of them in order and takes the first that fits.

    Raises:
        UsageError: The classes fit none.
    """
    forms = [_FORMS[year]] if year else list(_FORMS.values())
    for challenge in (_fit(classes, form) for form in forms):
        if challenge:
            return challenge
    sets = [name for name, names in CLASS_SETS.items() if any(_fit(names, form) for form in forms)]
    raise UsageError(
        f"{f'--submission {year}'.strip()}: the model's classes ({printable(', '.join(classes))}) do not fit "
        f"{' or '.join(form.name for form in forms)}; score with a model of the classes {' or '.join(sets)}"
    )
