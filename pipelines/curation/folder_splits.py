"""Splits that the names of folders give: `Train`, `val_dir`, `ISIC_2019_Test_Input`."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from pipelines.domain.taxonomy import normalize_term

# Words that data sets use to mark their own splits.
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
# Words beside the split that do not change what it means. `valid images` may be the readable ones, but nobody mixes
# them with a folder that says `train`.
_BESIDE = ("dir", "folder", "set", "data", "dataset", "split", "images", "image", "imgs", "img", "input")
_OF_A_CHALLENGE = re.compile(r"(?:isic|isbi)?(?:20\d\d)?|(?:task|part)\d?")
_IN_ONE_WORD = re.compile(rf"({'|'.join(_SPLITS)})({'|'.join(_BESIDE)})")

# For help and messages.
KNOWN = f"{', '.join(_SPLITS)}, alone or with {', '.join(_BESIDE)} (such as train_dir), and ISIC's challenge folders"


@functools.lru_cache(maxsize=1024)
def split_of_name(folder: str) -> str:
    """Return the split that a folder's name says, or an empty string."""
    words = _IN_ONE_WORD.sub(r"\1 \2", normalize_term(folder)).split()
    said = [_SPLITS[word] for word in words if word in _SPLITS]
    others = [word for word in words if word not in _SPLITS]
    known = all(word in _BESIDE or _OF_A_CHALLENGE.fullmatch(word) for word in others)
    return said[0] if len(said) == 1 and known else ""


def folder_split(folders: Sequence[str]) -> str:
    """Return the split named by the deepest folder that names one, or an empty string.

    Args:
        folders: Folder names, outermost first.
    """
    return next(filter(None, map(split_of_name, reversed(folders))), "")
