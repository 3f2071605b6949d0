"""Spellings of one term: plural, British, without umlauts and accents, with an abbreviation, with folders' numbers."""

from __future__ import annotations

import functools
import re
import unicodedata
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
    # German, with umlauts written out.
    "keratosen": "keratose",
    "muttermale": "muttermal",
    "leberflecke": "leberfleck",
    "leberflecken": "leberfleck",
    "alterswarzen": "alterswarze",
    "altersflecken": "altersfleck",
    "narben": "narbe",
    # Spanish, without accents.
    "nevos": "nevo",
    "lunares": "lunar",
    "lesiones": "lesion",
    "vasculares": "vascular",
    "cutaneas": "cutanea",
    "basocelulares": "basocelular",
    "espinocelulares": "espinocelular",
    "escamosos": "escamoso",
    "epidermoides": "epidermoide",
    "actinicas": "actinica",
    "solares": "solar",
    "seborreicas": "seborreica",
    "benignas": "benigna",
    "malignas": "maligna",
    "pigmentadas": "pigmentada",
    "melanociticos": "melanocitico",
    "displasicos": "displasico",
    "atipicos": "atipico",
    "azules": "azul",
    "malignos": "maligno",
}
# Compounds too: `gefaesslaesionen`, `pigmentnaevi`, `basalzellkarzinome`.
_ENDINGS = {"s": "", "ta": "", "e": "", "en": "", "i": "us"}
_PLURAL = re.compile(
    rf"\b(?:({'|'.join(_PLURALS)})|(\w{{3,}}oma)(s|ta)|(\w{{3,}}om)(e)|(\w*la?e?sion)(en)|(\w+naev)(i))\b"
)
_WRITTEN_OUT = str.maketrans({"\u00e4": "ae", "\u00f6": "oe", "\u00fc": "ue", "\u00df": "ss"})
_BRITISH = re.compile(r"\bnaev|\bhaem|rrhoe?ic\b")
_AMERICAN = {"naev": "nev", "haem": "hem", "rrhoeic": "rrheic", "rrhoic": "rrheic"}
_NAME_AND_SHORT = re.compile(r"(.+?) ?\((.+)\)")
# `2. melanoma`, `01 nv`; and a count of images behind a name, `nevus 7970`, `melanoma 15.75k`. A single digit there may
# be a flag: `melanoma_0`.
_ORDINAL = re.compile(r"\d+(?:[.)] ?| )(?=\D)")
_COUNT = re.compile(r"(?<=\D) (?:[1-9]\d+|\d+(?:\.\d+)?k)$")


def without_umlauts(term: str) -> str:
    """Return a term without the dots and accents of its letters: `nävus` becomes `navus`."""
    plain = unicodedata.normalize("NFD", term.replace("\u00df", "ss"))
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def _singular(found: re.Match[str]) -> str:
    word, *parts = found.groups()
    if word:
        return _PLURALS[word]
    stem, ending = filter(None, parts)
    return stem + _ENDINGS[ending]


# Folder names and diagnoses repeat from image to image.
@functools.lru_cache(maxsize=4096)
def usual_spelling(term: str) -> str:
    """Return a term in the singular and in American spelling: `melanocytic naevi` becomes `melanocytic nevus`.

    German umlauts are written out, and accents left out: `gefäßläsionen` becomes `gefaesslaesion`.

    Args:
        term: A term as `normalize_term` returns it.
    """
    plain = term if term.isascii() else without_umlauts(term.translate(_WRITTEN_OUT))
    american = _BRITISH.sub(lambda found: _AMERICAN[found[0]], plain)
    return _PLURAL.sub(_singular, american)


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


def is_initials(short: str, name: str) -> bool:
    """Return whether a short name is the initials of a name: `ssm` of `superficial spreading melanoma`."""
    return len(short) > 1 and short == "".join(word[0] for word in name.split())


@functools.lru_cache(maxsize=4096)
def name_and_short(term: str) -> NameAndShort | None:
    """Return the parts of a term that ends in brackets, or else its first word apart; None if it has no parts."""
    found = _NAME_AND_SHORT.fullmatch(term) if term.endswith(")") else None
    if found:
        return NameAndShort(*found.groups())
    short, _, name = term.partition(" ")
    return NameAndShort(name, short) if name else None
