"""Which images a model was trained on: a file of digests in the model, in which an evaluation looks its images up.

Eight bytes for each image's content, each ISIC id and each lesion. They say of an image that one has whether it is
among them; by chance one in 10^13 of other images is taken for one of a million.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.common.cli import UsageError, first_line
from pipelines.common.gcs_client import ServiceUnavailable, is_gs, read_object
from pipelines.common.seeding import stable_hash
from pipelines.domain.image_ids import isic_id_of
from pipelines.domain.model_files import ModelFilesError, require_file
from pipelines.domain.model_info import ModelInfo
from trainer.data.dataset_info import DatasetInfo
from trainer.data.originals import read_originals

# In the folder of a SavedModel.
TRAIN_IMAGES = "assets/train_images.npz"
_BATCH = 256


class TrainImages(NamedTuple):
    """Digests of the images that trained a model."""

    contents: np.ndarray  # uint64, sorted: of each image
    ids: np.ndarray  # uint64, sorted: of each ISIC id; other names may be those of several images
    lesions: np.ndarray  # uint64, sorted: of each lesion that is known

    def as_bytes(self) -> bytes:
        """Return the file."""
        buffer = io.BytesIO()
        np.savez(buffer, **self._asdict())
        return buffer.getvalue()

    def has(self, sha256: Sequence[str], source_id: Sequence[str], lesion_id: Sequence[str]) -> np.ndarray:
        """Return which images are among these, by content, ISIC id or lesion: bool [n].

        Args:
            sha256: Content hash of each image; "" where unknown.
            source_id: Id of each image.
            lesion_id: Lesion of each image; "" where unknown.
        """
        names = ((self.contents, sha256), (self.ids, map(isic_id_of, source_id)), (self.lesions, lesion_id))
        return np.any([_known(digests, list(values)) for digests, values in names], axis=0)


def _digests(names: Iterable[str]) -> np.ndarray:
    return np.array([stable_hash(name) for name in names], np.uint64)


def _known(digests: np.ndarray, names: Sequence[str]) -> np.ndarray:
    return np.array([name != "" for name in names], bool) & np.isin(_digests(names), digests)


def train_images(sha256: Iterable[str], source_id: Iterable[str], lesion_id: Iterable[str]) -> TrainImages:
    """Return the digests of images.

    Args:
        sha256: Content hashes.
        source_id: Ids; those that are no ISIC ids are left out.
        lesion_id: Lesions; those that are "" are left out.
    """
    each = (sha256, filter(None, map(isic_id_of, source_id)), filter(None, lesion_id))
    return TrainImages(*(np.unique(_digests(names)) for names in each))


def train_images_of(info: DatasetInfo) -> TrainImages:
    """Return the digests of the originals in a dataset's train split.

    Raises:
        UsageError: See `read_originals`.
    """
    names: tuple[set[str], ...] = (set(), set(), set())
    for batch in read_originals(info, "train", _BATCH):
        for found, key in zip(names, ("image/key/sha256", "image/source_id", "image/lesion_id"), strict=True):
            found.update(name.decode() for name in batch[key])
    return train_images(*names)


def read_model_file(folder: str, name: str) -> bytes:
    """Return the content of a small file in a model's folder, which may be in a bucket.

    Raises:
        OSError: It cannot be read.
        ServiceUnavailable: The bucket does not answer.
    """
    return read_object(f"{folder.rstrip('/')}/{name}") if is_gs(folder) else (Path(folder) / name).read_bytes()


def read_train_images(model: ModelInfo) -> TrainImages | None:
    """Return the digests that a model has; None if it was exported without any.

    Raises:
        UsageError: The file is missing, or is not the one that was exported.
    """
    if TRAIN_IMAGES not in model.files:
        return None
    try:
        content = read_model_file(model.path, TRAIN_IMAGES)
        require_file(TRAIN_IMAGES, content, model.files)
    except (OSError, ServiceUnavailable) as error:
        raise UsageError(f"--model {model.path}: {TRAIN_IMAGES} cannot be read ({first_line(error)})") from None
    except ModelFilesError as error:
        raise UsageError(f"--model {model.path}: {error}") from None
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return TrainImages(**{name: arrays[name] for name in TrainImages._fields})
