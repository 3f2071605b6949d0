"""Spellings of one term: plural for singular, British for American, and the abbreviation in brackets behind a name."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

# Whole words. Only words of diagnoses: `images` and `data` have no other spelling here.
_PLURALS = {
    "nevi": "nevus",
    "moles": "mole",
    "keratoses": "keratosis",
    "lentigines": "lentigo",
    "lesions": "lesion",
    "proliferations": "proliferation",
    "scars": "scar",
}
_PLURAL = re.compile(rf"\b(?:({'|'.join(_PLURALS)})|(\w{{3,}}oma)(?:s|ta))\b")
_BRITISH = re.compile(r"\bnaev|\bhaem|rrhoe?ic\b")
_AMERICAN = {"naev": "nev", "haem": "hem", "rrhoeic": "rrheic", "rrhoic": "rrheic"}
_NAME_AND_SHORT = re.compile(r"(.+?) ?\((.+)\)")


# Folder names and diagnoses repeat from image to image.
@functools.lru_cache(maxsize=4096)
def usual_spelling(term: str) -> str:
    """Return a term in the singular and in American spelling: `melanocytic naevi` becomes `melanocytic nevus`.

    Args:
        term: A term as `normalize_term` returns it.
    """
    american = _BRITISH.sub(lambda found: _AMERICAN[found[0]], term)
    return _PLURAL.sub(lambda found: _PLURALS[found[1]] if found[1] else found[2], american)


class NameAndShort(NamedTuple):
    """The two parts of a term such as `melanocytic nevi (nv)`."""

    name: str
    short: str


def name_and_short(term: str) -> NameAndShort | None:
    """Return the parts of a term that ends in brackets; None if it does not."""
    found = _NAME_AND_SHORT.fullmatch(term) if term.endswith(")") else None
    return NameAndShort(*found.groups()) if found else None
