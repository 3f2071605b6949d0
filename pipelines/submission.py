"""Scores as a submission to an ISIC challenge: the CSV that the command `isic-challenge-scoring` takes.

That command wants the columns and images of the truth, each image once, and numbers from 0 to 1 with a decimal point.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pipelines.cli import UsageError
from pipelines.decisions import decision_values
from pipelines.score_rows import ScoreRow, ScoringRun
from pipelines.score_tables import probability_matrix
from pipelines.sources import printable
from pipelines.taxonomy import CLASS_SETS, TABLE, known_set, normalize_term

# What no image of the training data shows; a model without such a class never says so.
_UNKNOWN = "UNK"


class _Form(NamedTuple):
    """A challenge's table. class_set: of the taxonomy; columns: name in the CSV -> class of the set."""

    name: str
    class_set: str
    columns: Mapping[str, str]


# The first that fits a model is its own: the one that tells more diagnoses apart.
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
    """How a model's probabilities become a challenge's columns. labels: for each column the labels to be added up."""

    name: str
    columns: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]


def _stands_for(name: str, form: _Form) -> str:
    """The form's class that a model's class belongs to; empty where there is none, or none that is sure."""
    term = normalize_term(name)
    if term in form.columns.values():
        return term
    found = known_set(form.class_set).terms.get(term, ())
    if not found:
        # A class that holds several diagnoses, of which the other set has only some: those decide.
        lines = (line for line in TABLE if term in (*line.isic9, *line.isic2019, *line.ham7))
        found = tuple(dict.fromkeys(other for line in lines for other in getattr(line, form.class_set)))
    return found[0] if len(found) == 1 else ""


def _fit(classes: Sequence[str], form: _Form) -> Challenge | None:
    """How the classes fill the form; None when one has no column or a column has none."""
    meant = [_stands_for(name, form) for name in classes]
    labels = tuple(
        tuple(label for label, found in enumerate(meant) if found == wanted) for wanted in form.columns.values()
    )
    filled = all(labels[index] for index, column in enumerate(form.columns) if column != _UNKNOWN)
    return Challenge(form.name, tuple(form.columns), labels) if filled and all(meant) else None


def challenge_for(classes: Sequence[str], year: str = "") -> Challenge:
    """The challenge that a model's classes fit: the one of YEARS that the user named, else the first of those.

    Raises UsageError when they fit none.
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


def submission_bytes(rows: Iterable[ScoreRow], run: ScoringRun, challenge: Challenge) -> tuple[bytes, int]:
    """The submission of scored rows in any order, and how many rows are not in it.

    One line for each image id, sorted. Of several files with one id the one with the smallest path counts.
    Raises ValueError for a row without its probabilities.
    """
    chosen: dict[str, ScoreRow] = {}
    left_out = 0
    for row in rows:
        known = chosen.setdefault(row.image_id, row)
        if known is not row:
            left_out += 1
            chosen[row.image_id] = min(known, row, key=lambda one: one.path)
    kept = [chosen[image_id] for image_id in sorted(chosen)]
    # The challenges score balanced accuracy, of the class with the largest value.
    values = decision_values(probability_matrix(kept, run), run.prior)
    # Rounding can take a sum past 1, which the scorer refuses. float32 is written with the fewest digits that say it.
    sums = [values[:, list(labels)].sum(axis=1) for labels in challenge.labels]
    columns = np.minimum(np.stack(sums, axis=1), 1.0).astype(np.float32)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("image", *challenge.columns))
    writer.writerows((printable(row.image_id), *map(str, line)) for row, line in zip(kept, columns, strict=True))
    return buffer.getvalue().encode(), left_out
