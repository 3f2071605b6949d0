"""The one table of diagnoses: what every source calls them, and which class each class set puts them in.

Sources: class folders of the nine-class set; HAM10000 `dx`; ISIC 2018, 2019 and 2020 challenge columns; the ISIC
archive's `diagnosis_1` to `diagnosis_5` and its older `diagnosis`. `docs/taxonomy.md` is made from this module.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import yaml

from pipelines.cli import UsageError


class Diagnosis(NamedTuple):
    """One line of the table.

    terms: names in any source, compared without case, punctuation and plural brackets. isic9, isic2019, ham7,
    malignant: the class in that set; empty where the set has none. Of several, the first is taken, and any of them
    agrees with a source that is more precise.
    """

    name: str
    terms: tuple[str, ...]
    isic9: tuple[str, ...]
    isic2019: tuple[str, ...]
    ham7: tuple[str, ...]
    malignant: tuple[str, ...]


def _line(name: str, terms: str, isic9: str, isic2019: str, ham7: str, malignant: str) -> Diagnosis:
    def parts(text: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in text.split("|") if part.strip())

    return Diagnosis(name, (name, *parts(terms)), parts(isic9), parts(isic2019), parts(ham7), parts(malignant))


# fmt: off
TABLE: tuple[Diagnosis, ...] = (
    _line("melanoma",
          "mel | Melanoma, NOS | Melanoma Invasive | Melanoma in situ | Melanoma metastasis"
          " | Malignant melanocytic proliferations (Melanoma)",
          "melanoma", "melanoma", "mel", "malignant"),
    _line("nevus", "nv | naevus | melanocytic nevus | Benign melanocytic proliferations",
          "nevus", "nevus", "nv", "benign"),
    _line("basal cell carcinoma", "bcc",
          "basal cell carcinoma", "basal cell carcinoma", "bcc", "malignant"),
    # The archive counts it as indeterminate, neither benign nor malignant.
    _line("actinic keratosis", "ak | Solar or actinic keratosis | solar keratosis",
          "actinic keratosis", "actinic keratosis", "akiec", ""),
    # HAM10000 and ISIC 2018: actinic keratosis or squamous cell carcinoma in situ, not told apart.
    _line("actinic keratosis or intraepithelial carcinoma", "akiec",
          "actinic keratosis | squamous cell carcinoma", "actinic keratosis | squamous cell carcinoma", "akiec", ""),
    _line("squamous cell carcinoma", "scc | Squamous cell carcinoma, NOS | Squamous cell carcinoma, Invasive",
          "squamous cell carcinoma", "squamous cell carcinoma", "", "malignant"),
    _line("squamous cell carcinoma in situ", "Bowen's disease | Bowen disease",
          "squamous cell carcinoma", "squamous cell carcinoma", "akiec", "malignant"),
    # HAM10000, ISIC 2018 and 2019: seborrheic keratosis, solar lentigo or lichenoid keratosis, not told apart.
    # The archive calls these images of HAM10000 pigmented benign keratosis.
    _line("benign keratosis", "bkl | benign keratosis-like lesion | Benign epidermal proliferations",
          "pigmented benign keratosis | seborrheic keratosis", "benign keratosis", "bkl", "benign"),
    _line("pigmented benign keratosis", "",
          "pigmented benign keratosis", "benign keratosis", "bkl", "benign"),
    _line("seborrheic keratosis", "seborrhoeic keratosis",
          "seborrheic keratosis", "benign keratosis", "bkl", "benign"),
    _line("solar lentigo", "lentigo NOS | lentigo simplex",
          "pigmented benign keratosis", "benign keratosis", "bkl", "benign"),
    _line("lichenoid keratosis", "lichen planus-like keratosis",
          "pigmented benign keratosis", "benign keratosis", "bkl", "benign"),
    _line("dermatofibroma", "df",
          "dermatofibroma", "dermatofibroma", "df", "benign"),
    # HAM10000's vascular lesions have no third level in the archive: the second is all there is.
    _line("vascular lesion", "vasc | angioma | hemangioma | angiokeratoma | pyogenic granuloma"
          " | Benign soft tissue proliferations - Vascular",
          "vascular lesion", "vascular lesion", "vasc", "benign"),
    _line("scar", "", "", "", "", "benign"),
    _line("atypical melanocytic proliferation", "", "", "", "", ""),
    _line("benign", "", "", "", "", "benign"),
    _line("malignant", "", "", "", "", "malignant"),
    _line("indeterminate", "", "", "", "", ""),
    _line("unknown", "unk", "", "", "", ""),
)
# fmt: on

# Classes in label order.
CLASS_SETS: dict[str, tuple[str, ...]] = {
    "isic9": (
        "actinic keratosis",
        "basal cell carcinoma",
        "dermatofibroma",
        "melanoma",
        "nevus",
        "pigmented benign keratosis",
        "seborrheic keratosis",
        "squamous cell carcinoma",
        "vascular lesion",
    ),
    "isic2019": (
        "melanoma",
        "nevus",
        "basal cell carcinoma",
        "actinic keratosis",
        "benign keratosis",
        "dermatofibroma",
        "vascular lesion",
        "squamous cell carcinoma",
    ),
    "ham7": ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
    "malignant": ("benign", "malignant"),
}

# ISIC archive, diagnosis_1. Classes of a set that hold nothing but malignant diagnoses.
_MALIGNANT = frozenset({"melanoma", "basal cell carcinoma", "squamous cell carcinoma", "mel", "bcc", "malignant"})


def normalize_term(text: str) -> str:
    """Lower case, composed, runs of space, dash, underscore and comma as one space: `Nevus, NOS` is `nevus nos`."""
    return re.sub(r"[\s_,-]+", " ", unicodedata.normalize("NFC", text)).strip().lower()


def malignant_classes(classes: Sequence[str]) -> list[str]:
    """Those of `classes` whose probabilities add up to the malignancy score."""
    return [name for name in classes if name in _MALIGNANT]


def melanoma_class(classes: Sequence[str]) -> str | None:
    """Which of `classes` is melanoma, under any of its short names; None where there is no such class."""
    return next((name for name in classes if normalize_term(name) in ("melanoma", "mel")), None)


class ClassSet(NamedTuple):
    """classes: names in label order; terms: normalised term -> the classes it may stand for, the likeliest first."""

    classes: tuple[str, ...]
    terms: Mapping[str, tuple[str, ...]]

    def classes_of(self, labels: Iterable[str]) -> tuple[str, ...]:
        """What the first of `labels` that stands for a class stands for; empty when none does.

        `labels` are what one source says of one image, the most precise first.
        """
        for label in labels:
            found = self.terms.get(normalize_term(label), ())
            if found:
                return found
        return ()


def known_set(name: str) -> ClassSet:
    """One of CLASS_SETS with the table's terms. Raises KeyError."""
    classes = CLASS_SETS[name]
    terms: dict[str, tuple[str, ...]] = {}
    for line in TABLE:
        found = getattr(line, name)
        for term in line.terms:
            terms[normalize_term(term)] = found
    # A class of the set always stands for itself, whatever else the table uses the word for.
    terms.update({normalize_term(name): (name,) for name in classes})
    return ClassSet(classes, terms)


def named_set(names: Sequence[str]) -> ClassSet:
    """Classes that the user names; a name that the table knows brings its terms with it."""
    wanted = {normalize_term(name): name for name in names}
    terms: dict[str, tuple[str, ...]] = {}
    for line in TABLE:
        meant = dict.fromkeys((line.name, *line.isic9, *line.isic2019, *line.ham7))
        found = tuple(wanted[name] for name in meant if name in wanted)
        if found:
            terms.update({normalize_term(term): found for term in line.terms})
    terms.update({term: (name,) for term, name in wanted.items()})
    return ClassSet(tuple(wanted), terms)


def mapped_set(mapping: Mapping[str, Iterable[str]]) -> ClassSet:
    """A mapping of the user's own: class -> the terms that stand for it. Only these terms, and the classes, count."""
    terms: dict[str, tuple[str, ...]] = {}
    for name, stands_for in mapping.items():
        for term in (name, *stands_for):
            terms[normalize_term(term)] = (name,)
    return ClassSet(tuple(mapping), terms)


def _mapping_file(path: str) -> ClassSet:
    """A JSON or YAML file {class: [terms]}. Raises UsageError."""
    # Brings Beam; who only needs the table should not wait for it.
    from pipelines import storage

    try:
        content = yaml.safe_load(storage.read_if_exists(path) or b"")  # JSON is YAML
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--classes {path}: cannot be read as JSON or YAML ({error.__class__.__name__})") from error
    valid = isinstance(content, dict) and all(
        isinstance(terms, list) and all(isinstance(term, str) for term in terms) for terms in content.values()
    )
    if not valid or len(content) < 2:
        raise UsageError(
            f"--classes {path}: must hold two or more classes, each with a list of terms: {{class: [term]}}"
        )
    return mapped_set({str(name): terms for name, terms in content.items()})


def resolve_classes(value: str) -> ClassSet:
    """The class set for `--classes`: a known set, a mapping file, or names separated by commas.

    Raises UsageError for an unknown set, a file that is no mapping, a repeated name or fewer than two names.
    """
    if value in CLASS_SETS:
        return known_set(value)
    if value.lower().endswith((".json", ".yaml", ".yml")):
        return _mapping_file(value)
    names = [name for name in map(normalize_term, value.split(",")) if name]
    if len(names) < 2:
        known = ", ".join(CLASS_SETS)
        raise UsageError(
            f"--classes {value!r}: neither a known set ({known}), a .json or .yaml file, nor names separated by commas"
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(f"--classes {value!r}: {repeated[0]!r} is named twice")
    return named_set(names)


def markdown() -> str:
    """The table as docs/taxonomy.md shows it."""
    sets = list(CLASS_SETS)
    lines = [
        "# Diagnoses and class sets",
        "",
        "What each source calls a diagnosis, and the class it has in each class set (`--classes`). Terms are",
        "compared without case, dashes, underscores and commas. A dash: the set has no such class, and an image with",
        "nothing more precise is rejected as `unmapped_label`. Where two classes stand, the source does not tell them",
        "apart: alone it counts as the first, and it agrees with a source that says either.",
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
        "Made by `python -m pipelines.taxonomy > docs/taxonomy.md`.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
