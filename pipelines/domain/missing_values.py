"""What people and programs write where there is nothing, and how they write yes and no. Imports no Beam."""

from __future__ import annotations

import functools
import unicodedata

# In lower case. Taken as an id, each would group all images that have it.
MISSING = frozenset(
    {
        # Spreadsheets: no value, and formulas that failed.
        "#n/a", "#na", "#ref!", "#value!", "#name?", "#div/0!", "#null!", "#num!", "#spill!", "#calc!", "(blank)",
        # The same in German and Spanish.
        "#nv", "#bezug!", "#wert!", "#zahl!", "#n/d", "#\u00a1ref!", "#\u00a1valor!", "#\u00bfnombre?", "#\u00a1num!",
        # pandas, NumPy and Python.
        "nan", "-nan", "<na>", "none", "nat", "#n/a n/a", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan",
        # R.
        "na", "na_character_", "na_integer_", "na_real_", "<nan>",
        # SQL and JSON.
        "null", "\\n", "(null)", "<null>", "[null]", "nil", "undefined",
        # People.
        "n/a", "n.a.", "n.a", "n/d", "n.d.", "-", "--", "---", "?", "??", "???", ".", "..", "...", "/", "*", "_",
        "unknown", "(unknown)", "not known", "unspecified", "not specified", "missing", "(missing)", "not available",
        "not applicable", "not provided", "not recorded", "not reported", "no data", "empty", "(empty)", "(none)",
        "<none>", "<unknown>", "<missing>",
        "unbekannt", "k.a.", "k. a.", "keine angabe", "keine angaben", "nicht bekannt", "fehlt", "leer",
        "desconocido", "desconocida", "sin dato", "sin datos", "s/d", "no aplica", "no disponible",
    }
)  # fmt: skip
# Numbers that programs write for a missing id. They are values anywhere else.
NO_IDS = frozenset(f"{number}{end}" for number in ("0", "-1", "-9", "-99", "-999", "-9999") for end in ("", ".0"))

# The words in other languages are those of spreadsheets and answers: German, Spanish, French.
_TRUE = frozenset({"true", "yes", "t", "y", "wahr", "ja", "verdadero", "s\u00ed", "si", "vrai", "oui"})
_FALSE = frozenset({"false", "no", "f", "n", "falsch", "nein", "falso", "faux", "non"})
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"))


@functools.lru_cache(maxsize=4096)
def is_missing(text: str) -> bool:
    """Return whether a cell says nothing: it is empty, or holds a placeholder."""
    plain = unicodedata.normalize("NFKC", text).strip(" \t\r\n\u00a0'\"").lower().translate(_DASHES)
    return not plain or plain in MISSING


def is_no_id(text: str) -> bool:
    """Return whether a cell holds no lesion or patient: nothing, or a number that stands for nothing."""
    return is_missing(text) or text.strip() in NO_IDS


@functools.lru_cache(maxsize=4096)
def flag_of(text: str) -> bool | None:
    """Return what a cell says that is either yes or no, as a one-hot column has it.

    Args:
        text: `1`, `1.0`, `1,0` (a decimal comma), `True`, `yes`, `y` or `ja`, and their opposites.

    Returns:
        True, False, or None if it is neither: nothing, or not understood.
    """
    plain = unicodedata.normalize("NFC", text).strip().lower()
    if plain in _TRUE:
        return True
    if plain in _FALSE:
        return False
    try:
        number = float(plain.replace(",", "."))
    except ValueError:
        return None
    return bool(number) if number in (0.0, 1.0) else None
