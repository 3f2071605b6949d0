"""A dataset in a bucket, and the copy of it on this machine that is read. Imports no TensorFlow.

Training reads records by their position, thousands a second in an order drawn anew for every epoch; a bucket takes some
ten milliseconds for each. So what is needed of a dataset is copied once, to a folder named after the dataset's
fingerprint. Files there with the bucket's checksums are not copied again. Several workers of one machine may share it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from pipelines.cli import UsageError
from pipelines.gcs_transfer import GcsFolder
from trainer.dataset_info import DOCUMENT, DatasetInfo, parse_dataset_info, require_files, shard_names, unfinished

_GRAPHS = ("transform_fn/", "standardize_fn/")


def default_cache() -> Path:
    """Where a user's programs keep what they can get again (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "isic-lesion-pipelines" / "datasets"


class RemoteDataset:
    """A finished dataset on gs://. `info` is what it says of itself, with the paths of a copy yet to be made."""

    def __init__(self, place: str, cache: Path | None = None):
        """Reads dataset.json only. UsageError for a bucket or dataset that is not there, or not as it should be.

        cache: where copies are kept; None: `default_cache()`.
        """
        self._folder = GcsFolder(place, "--dataset")
        self._cache = cache
        if DOCUMENT not in self._folder.list():
            raise unfinished(f"--dataset {place}")
        document = self._folder.read(DOCUMENT)
        home = cache or default_cache()
        fingerprint = parse_dataset_info(document, home, place).fingerprint
        # Not the name that copies of shards have which are made of a local dataset: those may be unpacked.
        self.info: DatasetInfo = parse_dataset_info(
            document, home / f"gs-{hashlib.sha256(fingerprint.encode()).hexdigest()[:16]}", place
        )

    def copy(self, splits: Iterable[str], graphs: bool = True) -> int:
        """Copy dataset.json, the shards of these splits and, if wanted, the two preprocessing graphs.

        Gives how many files were fetched: 0 if all are there. UsageError if some are missing in the bucket, or the
        copy cannot be kept.
        """
        there = self._folder.names()
        names = [DOCUMENT, *shard_names(self.info, splits)]
        expected = list(names)
        if graphs:
            expected += [f"{graph}saved_model.pb" for graph in _GRAPHS]
            names += sorted(name for name in there if name.startswith(_GRAPHS))
        require_files([name for name in expected if name not in there], f"--dataset {self.info.place}")
        try:
            return self._folder.download(names, self.info.path)
        except OSError as error:
            reason = error.strerror or error
            if self._cache:
                raise UsageError(
                    f"--cache {self._cache}: cannot keep a copy of the dataset there ({reason}); give another directory"
                ) from None
            raise UsageError(
                f"--dataset {self.info.place}: cannot keep a copy of it in {self.info.path} ({reason}); make room, or "
                "let XDG_CACHE_HOME name another folder"
            ) from None
