"""The table of diagnoses: what each source calls them, and which class they have in each class set.

Sources: class folders of the nine-class set; HAM10000 `dx` and the full names that its users give the classes; columns
of the ISIC challenges from 2016 to 2024 and of MILK10k; the ISIC archive's `diagnosis_1` to `diagnosis_5` and its older
`diagnosis`; PAD-UFES-20, Derm7pt, PH2, DDI, and Fitzpatrick17k where it means one of these. `docs/taxonomy.md` is
generated from this module.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pipelines.domain.spelling import name_and_short, usual_spelling, without_numbers


class Diagnosis(NamedTuple):
    """One line of the table.

    The fields `isic9`, `isic2019`, `ham7` and `malignant` hold the class in the set of that name.
    """

    name: str
    # Names in any source, compared after `normalize_term`; other spellings need no line, see `spelling`.
    terms: tuple[str, ...]
    # The class in this set and the next three; empty if the set has none. If there are several, the first is used, and
    # each agrees with a more precise source.
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
          "mel | malignant melanoma | Melanoma, NOS | Melanoma Invasive | Melanoma in situ | Melanoma metastasis"
          " | Malignant melanocytic proliferations (Melanoma) | superficial spreading melanoma"
          " | superficial spreading melanoma ssm | nodular melanoma | nodular melanoma (nm) | lentigo maligna"
          " | lentigo maligna melanoma | acral lentiginous melanoma | melanoma acral lentiginous | acral melanoma"
          " | amelanotic melanoma | melanoma (in situ) | melanoma (less than 0.76 mm) | melanoma (0.76 to 1.5 mm)"
          " | melanoma (more than 1.5 mm)",
          "melanoma", "melanoma", "mel", "malignant"),
    _line("nevus",
          "nv | nev | naevus | melanocytic nevus | nevocytic nevus | Benign melanocytic proliferations"
          " | common nevus | benign nevus | atypical nevus | dysplastic nevus | clark nevus | blue nevus"
          " | combined nevus | compound nevus | congenital nevus | dermal nevus | intradermal nevus | junctional nevus"
          " | halo nevus | recurrent nevus | acral nevus | spitz nevus | reed nevus | reed or spitz nevus"
          " | pigmented spindle cell nevus of reed | atypical spindle cell nevus of reed",
          "nevus", "nevus", "nv", "benign"),
    _line("basal cell carcinoma",
          "bcc | superficial basal cell carcinoma | nodular basal cell carcinoma | pigmented basal cell carcinoma"
          " | basal cell carcinoma superficial | basal cell carcinoma nodular | basal cell carcinoma morpheiform"
          " | solid cystic basal cell carcinoma",
          "basal cell carcinoma", "basal cell carcinoma", "bcc", "malignant"),
    # The archive classifies it as indeterminate, neither benign nor malignant.
    _line("actinic keratosis", "ak | ack | Solar or actinic keratosis | solar keratosis",
          "actinic keratosis", "actinic keratosis", "akiec", ""),
    # HAM10000, ISIC 2018 and MILK10k do not distinguish actinic keratosis and squamous cell carcinoma in situ. The
    # plural is what HAM10000's users call this class.
    _line("actinic keratosis or intraepithelial carcinoma",
          "akiec | actinic keratoses | actinic keratoses and intraepithelial carcinoma"
          " | actinic keratoses and intraepithelial carcinoma / Bowen's disease"
          " | Actinic keratosis / Bowen's disease (intraepithelial carcinoma)"
          " | actinic keratosis / intraepithelial carcinoma | actinic keratosis / intraepidermal carcinoma",
          "actinic keratosis | squamous cell carcinoma", "actinic keratosis | squamous cell carcinoma", "akiec", ""),
    # MILK10k counts keratoacanthoma with squamous cell carcinoma.
    _line("squamous cell carcinoma",
          "scc | sccka | squamous cell carcinoma / keratoacanthoma | squamous cell carcinoma keratoacanthoma"
          " | Squamous cell carcinoma, NOS | Squamous cell carcinoma, Invasive",
          "squamous cell carcinoma", "squamous cell carcinoma", "", "malignant"),
    _line("squamous cell carcinoma in situ",
          "scc in situ | Bowen's disease | Bowens disease | Bowen disease | intraepithelial carcinoma"
          " | intraepidermal carcinoma",
          "squamous cell carcinoma", "squamous cell carcinoma", "akiec", "malignant"),
    # HAM10000, ISIC 2018 and 2019 do not distinguish seborrheic keratosis, solar lentigo and lichenoid keratosis.
    # The archive calls these HAM10000 images pigmented benign keratosis.
    _line("benign keratosis",
          "bkl | benign keratosis-like lesion | benign keratinocytic lesion | Benign epidermal proliferations"
          " | Benign keratosis (solar lentigo / seborrheic keratosis / lichen planus-like keratosis)",
          "pigmented benign keratosis | seborrheic keratosis", "benign keratosis", "bkl", "benign"),
    _line("pigmented benign keratosis", "",
          "pigmented benign keratosis", "benign keratosis", "bkl", "benign"),
    _line("seborrheic keratosis",
          "sk | sek | seborrhoeic keratosis | seborrheic keratosis irritated | irritated seborrheic keratosis",
          "seborrheic keratosis", "benign keratosis", "bkl", "benign"),
    _line("solar lentigo", "lentigo | lentigo NOS | lentigo simplex | actinic lentigo",
          "pigmented benign keratosis", "benign keratosis", "bkl", "benign"),
    _line("lichenoid keratosis", "lichen planus-like keratosis | lplk | benign lichenoid keratosis",
          "pigmented benign keratosis", "benign keratosis", "bkl", "benign"),
    _line("dermatofibroma", "df",
          "dermatofibroma", "dermatofibroma", "df", "benign"),
    # In the archive, HAM10000's vascular lesions have no `diagnosis_3`; `diagnosis_2` is the most precise term.
    _line("vascular lesion",
          "vasc | vascular skin lesion | vascular lesions and hemorrhage | angioma | cherry angioma | hemangioma"
          " | angiokeratoma | pyogenic granuloma | granuloma pyogenic | Benign soft tissue proliferations - Vascular",
          "vascular lesion", "vascular lesion", "vasc", "benign"),
    _line("scar", "keloid", "", "", "", "benign"),
    # These have the word in their name, and are no melanocytic nevi.
    _line("other nevus",
          "epidermal nevus | becker nevus | nevus sebaceous | nevus sebaceous of jadassohn | naevus comedonicus"
          " | nevus lipomatosus superficialis",
          "", "", "", "benign"),
    _line("other benign lesion",
          "ben_oth | other benign proliferations | other benign proliferations, including collision tumors"
          " | benign - other | melanosis | cafe-au-lait macule | acral melanotic macule | verruca | verruca vulgaris"
          " | wart | acrochordon | fibroepithelial polyp | angiofibroma | angiofibroma or fibrous papule | neurofibroma"
          " | lipoma | clear cell acanthoma | inverted follicular keratosis | epidermal cyst",
          "", "", "", "benign"),
    _line("inflammatory or infectious condition",
          "inf | inflammatory and infectious conditions | inflammatory or infectious diseases",
          "", "", "", "benign"),
    _line("other malignant lesion",
          "mal_oth | other malignant proliferations | other malignant proliferations, including collision tumors"
          " | merkel cell carcinoma | sebaceous carcinoma | metastatic carcinoma | kaposi sarcoma | mycosis fungoides"
          " | subcutaneous t-cell lymphoma",
          "", "", "", "malignant"),
    # Sources count it as benign, as malignant, or with squamous cell carcinoma.
    _line("keratoacanthoma", "", "", "", "", ""),
    _line("atypical melanocytic proliferation",
          "aimp | Atypical intraepithelial melanocytic proliferation | Atypical melanocytic neoplasm"
          " | Indeterminate melanocytic proliferations",
          "", "", "", ""),
    _line("benign", "benign lesion", "", "", "", "benign"),
    _line("malignant", "malignant lesion", "", "", "", "malignant"),
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


# Terms that sum up diagnoses or say that there is none.
_NO_DIAGNOSES = frozenset(
    term for line in TABLE if line.name in ("benign", "malignant", "indeterminate", "unknown") for term in line.terms
)

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


@functools.cache
def _terms() -> frozenset[str]:
    return frozenset(normalize_term(term) for line in TABLE for term in line.terms)


def is_term(text: str) -> bool:
    """Return whether a word stands for a diagnosis in any source."""
    term = normalize_term(text)
    return term in _terms() or usual_spelling(term) in _terms()


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
            is_diagnosis = usual_spelling(term) not in _NO_DIAGNOSES
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
    return ClassSet(classes, terms)


def named_set(names: Sequence[str]) -> ClassSet:
    """Make a class set from names given by the user; a name that the table contains also gets the table's terms."""
    wanted = {normalize_term(name): name for name in names}
    terms: dict[str, tuple[str, ...]] = {}
    for line in TABLE:
        meant = dict.fromkeys((line.name, *line.isic9, *line.isic2019, *line.ham7))
        found = tuple(wanted[name] for name in meant if name in wanted)
        terms.update({normalize_term(term): found for term in line.terms})
    terms.update({term: (name,) for term, name in wanted.items()})
    return ClassSet(tuple(wanted), terms)


def mapped_set(mapping: Mapping[str, Iterable[str]]) -> ClassSet:
    """Make a class set from a mapping given by the user; the terms of the table are not used.

    Args:
        mapping: Class -> the terms that stand for it, in addition to its own name.
    """
    terms: dict[str, tuple[str, ...]] = {}
    for name, stands_for in mapping.items():
        for term in (name, *stands_for):
            terms[normalize_term(term)] = (name,)
    return ClassSet(tuple(mapping), terms)


def markdown() -> str:
    """Return the content of docs/taxonomy.md."""
    sets = list(CLASS_SETS)
    lines = [
        "# Diagnoses and class sets",
        "",
        "What each source calls a diagnosis, and the class it has in each class set (`--classes`). Terms are",
        "compared without case, dashes, underscores and commas. Plurals (`nevi`), British spellings (`naevus`), a",
        "short name beside the long one (`Melanocytic nevi (NV)`, `nv - Melanocytic nevi`), and a number in front or",
        "behind (`01_nv`, `2. Melanoma 15.75k`) are understood too. A dash: the set has no such class, and an image",
        "with nothing more precise is rejected as `unmapped_label`; of what its source says beside it, only `benign`",
        "and `malignant` are looked at, never a broader diagnosis. Where two classes stand, the source does not tell",
        "them apart: alone it counts as the first, and it agrees with a source that says either.",
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
