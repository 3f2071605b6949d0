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
# The same, less often. Other words may change it: `test strips`, `training notes`.
_ALSO_BESIDE = frozenset(
    (
        *("isic", "isbi", "ham", "milk", "bcn", "pad", "ufes", "ddi", "skin", "lesion", "lesions", "cancer"),
        *("challenge", "task", "part", "fold", "of", "public", "private", "official", "subset", "photos", "pictures"),
        *("jpeg", "jpg", "png", "bmp", "tif", "tiff", "webp", "resized", "cropped", "original", "raw"),
    )
)
_NUMBER = re.compile(r"\d")
# `TestInput`, `testdata`, `train2017`.
_NEW_WORD = re.compile(r"(?<=[a-z\d])(?=[A-Z])")
_IN_ONE_WORD = re.compile(rf"\b({'|'.join(_SPLITS)})({'|'.join(_BESIDE)}|\d+)")

# For help and messages.
KNOWN = (
    f"{', '.join(_SPLITS)}, alone or with {', '.join(_BESIDE)}, the name of a data set, a format or a number (such as "
    "train_dir or ISIC_2020_Test_JPEG)"
)


def _is_known(word: str) -> bool:
    return word in _SPLITS or word in _BESIDE or word in _ALSO_BESIDE or _NUMBER.search(word) is not None


@functools.lru_cache(maxsize=1024)
def split_of_name(folder: str) -> str:
    """Return the split that a folder's name says, or an empty string."""
    words = _IN_ONE_WORD.sub(r"\1 \2", normalize_term(_NEW_WORD.sub(" ", folder))).split()
    said = [_SPLITS[word] for word in words if word in _SPLITS]
    return said[0] if len(said) == 1 and all(map(_is_known, words)) else ""


def folder_split(folders: Sequence[str]) -> str:
    """Return the split named by the deepest folder that names one, or an empty string.

    Args:
        folders: Folder names, outermost first.
    """
    return next(filter(None, map(split_of_name, reversed(folders))), "")
