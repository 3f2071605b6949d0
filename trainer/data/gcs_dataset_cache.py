"""Copy a dataset in a bucket to this machine, to be read there. Imports no TensorFlow.

Training reads thousands of records a second by position, in an order drawn anew for every epoch; a bucket takes some
ten milliseconds for each. So the needed files of a dataset are copied once, to a folder named after the dataset's
fingerprint. Files that are already there with the bucket's checksums are not copied again. Several workers on one
machine may share the folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from pipelines.common.cli import UsageError
from pipelines.common.gcs_folder import GcsFolder
from pipelines.domain.dataset_json import DATASET_JSON
from trainer.data.dataset_copies import default_cache, hold
from trainer.data.dataset_info import DatasetInfo, parse_dataset_info, require_files, shard_names, unfinished

_GRAPHS = ("transform_fn/", "standardize_fn/")


class GcsDataset:
    """A finished dataset on gs://.

    `info` describes it, with the paths of a copy that is yet to be made.
    """

    def __init__(self, place: str, cache: Path | None = None):
        """Read dataset.json, and nothing else.

        Args:
            place: gs:// URL of the dataset.
            cache: Directory for copies of datasets; None: `default_cache()`.

        Raises:
            UsageError: If the bucket or the dataset does not exist, or the dataset is unfinished or damaged.
        """
        self._folder = GcsFolder(place, "--dataset")
        self._cache = cache
        if DATASET_JSON not in self._folder.list():
            raise unfinished(f"--dataset {place}")
        document = self._folder.read(DATASET_JSON)
        home = cache or default_cache()
        fingerprint = parse_dataset_info(document, home, place).fingerprint
        # Another name than `copy_shards` uses for its copies of shards, which may be unpacked.
        self.info: DatasetInfo = parse_dataset_info(
            document, home / f"gs-{hashlib.sha256(fingerprint.encode()).hexdigest()[:16]}", place
        )

    def copy(self, splits: Iterable[str], graphs: bool = True) -> int:
        """Copy the files of a dataset that are needed: dataset.json, shards and preprocessing graphs.

        Args:
            splits: Names of the splits whose shards are copied.
            graphs: Copy the two preprocessing graphs too.

        Returns:
            The number of files that were copied; 0 if all were there.

        Raises:
            UsageError: If files are missing in the bucket, or the copy cannot be written.
        """
        there = self._folder.names()
        names = [DATASET_JSON, *shard_names(self.info, splits)]
        expected = list(names)
        if graphs:
            expected += [f"{graph}saved_model.pb" for graph in _GRAPHS]
            names += sorted(name for name in there if name.startswith(_GRAPHS))
        require_files([name for name in expected if name not in there], f"--dataset {self.info.place}")
        try:
            hold(self.info.path)
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
