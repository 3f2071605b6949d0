"""Class sets, and what a word stands for in each: the table of diagnoses in whatever spelling people write it.

`docs/taxonomy.md` is generated from the table by this module.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pipelines.domain.diagnoses import CLASS_SETS, TABLE
from pipelines.domain.spelling import is_initials, name_and_short, usual_spelling, without_numbers, without_umlauts

# Classes, of any set, that hold only malignant diagnoses according to `diagnosis_1` of the ISIC archive.
_MALIGNANT = frozenset({"melanoma", "basal cell carcinoma", "squamous cell carcinoma", "mel", "bcc", "malignant"})


# Folder names and diagnoses repeat from image to image.
@functools.lru_cache(maxsize=4096)
def normalize_term(text: str) -> str:
    """Normalise a term for comparison: `Nevus, NOS` becomes `nevus nos`.

    The result is lower case and in Unicode NFC; runs of white space, dashes, underscores and commas become one space,
    and a typographic apostrophe a plain one.
    """
    return re.sub(r"[\s_,-]+", " ", unicodedata.normalize("NFC", text).replace("\u2019", "'")).strip().lower()


def _with_spellings(terms: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return terms with their usual spellings as further terms, and those without umlauts."""
    found = dict(terms)
    for term, classes in terms.items():
        for plain in (term, without_umlauts(term)):
            found.setdefault(usual_spelling(plain), classes)
    return found


@functools.cache
def _no_diagnoses() -> frozenset[str]:
    """Return the terms, in usual spelling, that sum up diagnoses or say that there is none."""
    lines = [line for line in TABLE if line.name in ("benign", "malignant", "indeterminate", "unknown")]
    return frozenset(usual_spelling(normalize_term(term)) for line in lines for term in line.terms)


def malignant_classes(classes: Sequence[str]) -> list[str]:
    """Return the classes whose probabilities add up to the malignancy score."""
    return [name for name in classes if name in _MALIGNANT]


def melanoma_class(classes: Sequence[str]) -> str | None:
    """Return the class that is melanoma, under its full or short name, or None if there is none."""
    return next((name for name in classes if normalize_term(name) in ("melanoma", "mel")), None)


class ClassSet(NamedTuple):
    """A set of classes and the terms that stand for them."""

    classes: tuple[str, ...]  # names in label order
    # Normalised term -> the classes it may stand for, likeliest first; none for a diagnosis that has none in this set.
    terms: Mapping[str, tuple[str, ...]]

    def classes_of(self, labels: Iterable[str]) -> tuple[str, ...]:
        """Return the classes of the first label that stands for any.

        Args:
            labels: What one source says about one image, most precise first.

        Returns:
            The classes, likeliest first; empty if no label stands for a class.
        """
        label = self.telling(labels)
        return () if label is None else self._classes_of_term(normalize_term(label)) or ()

    def telling(self, labels: Iterable[str]) -> str | None:
        """Return the first label that stands for a class; None if there is none.

        A diagnosis that has no class in this set is not counted as a broader one: after it, only terms that are no
        diagnoses, such as `benign`, are looked at.

        Args:
            labels: What one source says about one image, most precise first.
        """
        has_no_class = False
        for label in labels:
            term = normalize_term(label)
            is_diagnosis = usual_spelling(term) not in _no_diagnoses()
            if has_no_class and is_diagnosis:
                continue
            found = self._classes_of_term(term)
            if found:
                return label
            has_no_class = has_no_class or (found is not None and is_diagnosis)
        return None

    def _classes_of_term(self, term: str) -> tuple[str, ...] | None:
        """Return the classes of a term, in this or another spelling; of a name and a short one, those of both.

        Returns:
            The classes, none for a diagnosis that has none in this set; None for a term that is not known.
        """
        for spelling in (term, usual_spelling(term)):
            if spelling in self.terms:
                return self.terms[spelling]
        bare = without_numbers(term)
        if bare != term:
            return self._classes_of_term(bare)
        parts = name_and_short(term)
        if parts is None:
            return None
        name, short = map(self._classes_of_term, parts)
        if short is None and term.endswith(")") and is_initials(parts.short, parts.name):
            return name
        return tuple(found for found in name if found in (short or ())) or None if name else name


def built_in_set(name: str) -> ClassSet:
    """Return one of CLASS_SETS with the table's terms.

    Raises:
        KeyError: There is no class set of this name.
    """
    classes = CLASS_SETS[name]
    terms: dict[str, tuple[str, ...]] = {}
    for line in TABLE:
        found = getattr(line, name)
        for term in line.terms:
            terms[normalize_term(term)] = found
    # A class of the set always stands for itself, even if the table uses the word for something else.
    terms.update({normalize_term(name): (name,) for name in classes})
    return ClassSet(classes, _with_spellings(terms))


def named_set(names: Sequence[str]) -> ClassSet:
    """Make a class set from names given by the user; a name that the table contains also gets the table's terms."""
    wanted = {normalize_term(name): name for name in names}
    terms: dict[str, tuple[str, ...]] = {}
    for line in TABLE:
        meant = dict.fromkeys((line.name, *line.isic9, *line.isic2019, *line.ham7))
        found = tuple(wanted[name] for name in meant if name in wanted)
        terms.update({normalize_term(term): found for term in line.terms})
    terms.update({term: (name,) for term, name in wanted.items()})
    return ClassSet(tuple(wanted), _with_spellings(terms))


@functools.cache
def _all_diagnoses() -> ClassSet:
    terms: dict[str, tuple[str, ...]] = {normalize_term(term): (line.name,) for line in TABLE for term in line.terms}
    return ClassSet(tuple(line.name for line in TABLE), _with_spellings(terms))


def diagnoses_of(text: str) -> tuple[str, ...]:
    """Return the name of the diagnosis that a word stands for in any source; empty if it stands for none."""
    return _all_diagnoses().classes_of([text])


def mapped_set(mapping: Mapping[str, Iterable[str]]) -> ClassSet:
    """Make a class set from a mapping given by the user; the terms of the table are not used.

    Args:
        mapping: Class -> the terms that stand for it, in addition to its own name.
    """
    terms: dict[str, tuple[str, ...]] = {}
    for name, stands_for in mapping.items():
        for term in (name, *stands_for):
            terms[normalize_term(term)] = (name,)
    return ClassSet(tuple(mapping), _with_spellings(terms))


def markdown() -> str:
    """Return the content of docs/taxonomy.md."""
    sets = list(CLASS_SETS)
    lines = [
        "# Diagnoses and class sets",
        "",
        "What each source calls a diagnosis, and the class it has in each class set (`--classes`). Terms are",
        "compared without case, dashes, underscores and commas. Plurals (`nevi`), British spellings (`naevus`),",
        "umlauts written out and letters without accents (`Gefaesslaesion`, `queratosis actinica`), a short name",
        "beside the long one (`Melanocytic nevi (NV)`, `nv - Melanocytic nevi`), initials behind it (`Superficial",
        "spreading melanoma (SSM)`), and a number in front or behind (`01_nv`, `2. Melanoma 15.75k`) are",
        "understood too. A dash: the set has no such class, and an image with",
        "nothing more precise is rejected as `unmapped_label`; of what its source says beside it, only `benign`",
        "and `malignant` are looked at, never a broader diagnosis. Where two classes stand, the source does not",
        "tell them apart: alone it counts as the first, and it agrees with a source that says either.",
        "",
        f"| diagnosis | also called | {' | '.join(sets)} |",
        f"| {' | '.join(['---'] * (len(sets) + 2))} |",
    ]
    for line in TABLE:
        cells = [" or ".join(getattr(line, name)) or "-" for name in sets]
        lines.append(f"| {line.name} | {', '.join(line.terms[1:]) or '-'} | {' | '.join(cells)} |")
    lines += [
        "",
        "Malignancy scores add up the classes melanoma, basal cell carcinoma and squamous cell carcinoma (`mel` and",
        "`bcc` in ham7, whose `akiec` holds more than carcinoma). The archive counts actinic keratosis as",
        "indeterminate, so it stands on neither side of the set `malignant`.",
        "",
        "Made by `python -m pipelines.domain.taxonomy > docs/taxonomy.md`.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
