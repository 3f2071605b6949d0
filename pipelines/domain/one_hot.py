"""Columns of which one says the class: as in the ISIC challenges, or named after diagnoses in any other way."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipelines.common.tables import column_key
from pipelines.domain.diagnoses import TABLE
from pipelines.domain.spelling import usual_spelling
from pipelines.domain.taxonomy import diagnoses_of, normalize_term

# One-hot columns of the ISIC 2018 and 2019 ground truth.
CHALLENGE_2018 = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
CHALLENGE_2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
CHALLENGE_COLUMNS = tuple(dict.fromkeys((*CHALLENGE_2018, *CHALLENGE_2019, "UNK")))
# What programs and people write before the name of a class: `dx_mel` of pandas.get_dummies, `is_melanoma`.
_PREFIX = re.compile(
    r"((?i:dx|labels?|class|cls|category|target|truth|gt|y|is|has|diagnosis|diag))(?:[\s_.:-]+|(?<=[a-z])(?=[A-Z]))(?=\D)"
)
_WORD_BREAKS = re.compile(r"[.:]+|(?<=[a-z])(?=[A-Z])")
# Letters of an abbreviation, at most.
_SHORT = 5
# What sums up diagnoses, and so stands beside one.
_SUMMARIES = ("benign", "malignant", "indeterminate")


class OneHot(NamedTuple):
    """The one-hot columns of a table."""

    terms: dict[str, str]  # column, as the table writes it -> the term for what it stands for
    ambiguous: str = ""  # why it cannot be said which columns count, for a message; empty if it can


class _Named(NamedTuple):
    """A column that is named after a diagnosis."""

    column: str
    prefix: str  # in lower case; empty if there is none
    term: str
    diagnosis: str

    def is_whole(self) -> bool:
        """Return whether the name is the diagnosis' own or an abbreviation of it, and not that of a part of it."""
        term = normalize_term(self.term)
        return term == self.diagnosis or (len(term) <= _SHORT and " " not in term)


_CHALLENGE = {column_key(name): name for name in CHALLENGE_COLUMNS}


def _readings(column: str) -> Iterator[tuple[str, str]]:
    """Yield the prefix and the words that a column's name may be made of; the prefix is empty if there is none."""
    found = _PREFIX.match(column)
    for prefix, name in (("", column), *([(found[1].lower(), column[found.end() :])] if found else [])):
        yield prefix, name.strip()
        yield prefix, _WORD_BREAKS.sub(" ", name).strip()


def _named(column: str) -> _Named | None:
    """Return the diagnosis that a column's name stands for, with or without a prefix; None if it names none."""
    for prefix, term in _readings(column):
        if diagnoses := diagnoses_of(term):
            return _Named(column, prefix, _CHALLENGE.get(column_key(term), term), diagnoses[0])
    return None


def _vague(names: Iterable[str], prefix: str) -> str:
    """Return which column may be one of several diagnoses, such as `keratosis`, for a message; empty if none may."""
    for column in names:
        for found, term in _readings(column):
            word = f" {usual_spelling(normalize_term(term))}"
            lines = (line.name for line in TABLE if line.isic9 and " or " not in line.name)
            meant = [name for name in lines if name.endswith(word)]
            if found == prefix and len(meant) > 1:
                return f"column {column} may be {' or '.join(meant[:2])}"
    return ""


def _twice(columns: Iterable[_Named]) -> str:
    """Return which two columns are named after one diagnosis, for a message; empty if none are."""
    first: dict[str, _Named] = {}
    for named in columns:
        if named.is_whole():
            other = first.setdefault(named.diagnosis, named)
            if other != named:
                return f"columns {other.column} and {named.column} are both for {named.diagnosis}"
    return ""


@functools.lru_cache(maxsize=256)
def one_hot_of(names: tuple[str, ...], in_words: bool = False) -> OneHot:
    """Return the one-hot columns of a table.

    A column of a challenge always counts. Others count if at least two are named after diagnoses in the same way: in
    words, or all with the same prefix.

    Args:
        names: The table's column names.
        in_words: Whether the table says diagnoses in words too. Then columns that are named otherwise than those of
            the challenges are something else.
    """
    of_challenge = {key: name for name in reversed(names) if (key := column_key(name)) in _CHALLENGE}
    terms = {name: _CHALLENGE[key] for key in _CHALLENGE if (name := of_challenge.get(key)) is not None}
    if in_words:
        return OneHot(terms)
    alike: dict[str, list[_Named]] = {}
    for column in names:
        if named := _named(column):
            alike.setdefault(named.prefix, []).append(named)
    precise = ([one for one in columns if one.diagnosis not in _SUMMARIES] or columns for columns in alike.values())
    sets = [columns for columns in precise if len(columns) > 1]
    if len(sets) > 1:
        return OneHot(terms, f"columns {sets[0][0].column}, ... and {sets[1][0].column}, ... both say classes")
    for columns in sets:
        if wrong := _twice(columns) or _vague(names, columns[0].prefix):
            return OneHot(terms, wrong)
        terms.update({named.column: named.term for named in columns if named.column not in terms})
    return OneHot(terms)
