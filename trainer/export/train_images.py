"""Which images a model was trained on: a file of digests in the model, in which an evaluation looks its images up.

Eight bytes for each image's content and for each lesion: nobody can read an id from it, and by chance one in 10^13 of
other images is taken for one of a million.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.common.cli import UsageError, first_line
from pipelines.common.seeding import stable_hash
from trainer.data.dataset_info import DatasetInfo
from trainer.data.originals import read_originals

# In the folder of a SavedModel.
TRAIN_IMAGES = "assets/train_images.npz"
_BATCH = 256


class TrainImages(NamedTuple):
    """Digests of the images that trained a model."""

    contents: np.ndarray  # uint64, sorted: of each image
    lesions: np.ndarray  # uint64, sorted: of each lesion that is known

    def as_bytes(self) -> bytes:
        """Return the file."""
        buffer = io.BytesIO()
        np.savez(buffer, contents=self.contents, lesions=self.lesions)
        return buffer.getvalue()

    def has(self, sha256: Sequence[str], lesion_id: Sequence[str]) -> np.ndarray:
        """Return which images are among these, by content or lesion: bool [n].

        Args:
            sha256: Content hash of each image.
            lesion_id: Lesion of each image; "" where unknown.
        """
        known = np.array([lesion != "" for lesion in lesion_id], bool)
        return np.isin(_digests(sha256), self.contents) | (known & np.isin(_digests(lesion_id), self.lesions))


def _digests(names: Iterable[str]) -> np.ndarray:
    return np.array([stable_hash(name) for name in names], np.uint64)


def train_images(sha256: Iterable[str], lesion_id: Iterable[str]) -> TrainImages:
    """Return the digests of images.

    Args:
        sha256: Content hashes.
        lesion_id: Lesions; those that are "" are left out.
    """
    return TrainImages(np.unique(_digests(sha256)), np.unique(_digests(filter(None, lesion_id))))


def train_images_of(info: DatasetInfo) -> TrainImages:
    """Return the digests of the originals in a dataset's train split.

    Raises:
        UsageError: See `read_originals`.
    """
    contents: set[str] = set()
    lesions: set[str] = set()
    for batch in read_originals(info, "train", _BATCH):
        contents.update(name.decode() for name in batch["image/key/sha256"])
        lesions.update(name.decode() for name in batch["image/lesion_id"])
    return train_images(contents, lesions)


def read_train_images(model: str) -> TrainImages | None:
    """Return the digests that a model has; None for a model that was exported before there were any.

    Args:
        model: The model's folder.

    Raises:
        UsageError: The file is damaged.
    """
    path = Path(model) / TRAIN_IMAGES
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return TrainImages(arrays["contents"], arrays["lesions"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"--model {model}: {TRAIN_IMAGES} is damaged ({first_line(error)}); train it again") from None
