"""Class sets and how a folder name becomes a class."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipelines.cli import UsageError

# The nine classes of the "Skin cancer: ISIC" folder set, in the order that fixes their labels.
ISIC9: tuple[str, ...] = (
    "actinic keratosis",
    "basal cell carcinoma",
    "dermatofibroma",
    "melanoma",
    "nevus",
    "pigmented benign keratosis",
    "seborrheic keratosis",
    "squamous cell carcinoma",
    "vascular lesion",
)

# ISIC archive, diagnosis_1 = "Malignant". Actinic keratosis is a precursor ("Indeterminate"), not counted here.
MALIGNANT = frozenset({"melanoma", "basal cell carcinoma", "squamous cell carcinoma", "malignant"})

CLASS_SETS: dict[str, tuple[str, ...]] = {"isic9": ISIC9}


def normalize_name(name: str) -> str:
    """Lower case, runs of space, dash and underscore as one space: `Basal_Cell-Nevus` is `basal cell nevus`."""
    return re.sub(r"[\s_-]+", " ", name).strip().lower()


def resolve_classes(value: str) -> tuple[str, ...]:
    """Class names, in label order, for `--classes`: a known set, or names separated by commas.

    Raises UsageError for an unknown set, a repeated name or fewer than two names.
    """
    if value in CLASS_SETS:
        return CLASS_SETS[value]
    names = tuple(normalize_name(part) for part in value.split(",") if part.strip())
    if len(names) < 2:
        known = ", ".join(sorted(CLASS_SETS))
        raise UsageError(
            f"--classes {value!r}: neither a known set ({known}) nor two or more names separated by commas"
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(f"--classes {value!r}: {repeated[0]!r} is named twice")
    return names


def malignant_classes(classes: Sequence[str]) -> list[str]:
    """Those of `classes` whose probabilities add up to the malignancy score."""
    return [name for name in classes if name in MALIGNANT]


def class_of_path(folders: Sequence[str], classes: Sequence[str]) -> str | None:
    """The class that a file's folders name: the deepest folder that is a class, else None.

    `folders` are the names from the input's own folder down to the file's, outermost first.
    """
    for folder in reversed(folders):
        name = normalize_name(folder)
        if name in classes:
            return name
    return None
