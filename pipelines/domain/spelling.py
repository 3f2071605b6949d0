"""Spellings of one term: plural, British, an abbreviation beside the name, and the numbers that folders get."""

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
# `2. melanoma`, `01 nv`; and a count of images behind a name, `nevus 7970`, `melanoma 15.75k`. A single digit there may
# be a flag: `melanoma_0`.
_ORDINAL = re.compile(r"\d+(?:[.)] ?| )(?=\D)")
_COUNT = re.compile(r"(?<=\D) (?:[1-9]\d+|\d+(?:\.\d+)?k)$")


# Folder names and diagnoses repeat from image to image.
@functools.lru_cache(maxsize=4096)
def usual_spelling(term: str) -> str:
    """Return a term in the singular and in American spelling: `melanocytic naevi` becomes `melanocytic nevus`.

    Args:
        term: A term as `normalize_term` returns it.
    """
    american = _BRITISH.sub(lambda found: _AMERICAN[found[0]], term)
    return _PLURAL.sub(lambda found: _PLURALS[found[1]] if found[1] else found[2], american)


@functools.lru_cache(maxsize=4096)
def without_numbers(term: str) -> str:
    """Return a term without a number in front of it and one behind it.

    Args:
        term: A term as `normalize_term` returns it.
    """
    ordinal = _ORDINAL.match(term)
    return _COUNT.sub("", term[ordinal.end() :] if ordinal else term)


class NameAndShort(NamedTuple):
    """The two parts of a term such as `melanocytic nevi (nv)` or `nv melanocytic nevi`."""

    name: str
    short: str


@functools.lru_cache(maxsize=4096)
def name_and_short(term: str) -> NameAndShort | None:
    """Return the parts of a term that ends in brackets, or else its first word apart; None if it has no parts."""
    found = _NAME_AND_SHORT.fullmatch(term) if term.endswith(")") else None
    if found:
        return NameAndShort(*found.groups())
    short, _, name = term.partition(" ")
    return NameAndShort(name, short) if name else None
