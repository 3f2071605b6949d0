"""A file that is read in kept blocks."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

from pipelines.storage.block_cache import open_cached
from pipelines.storage.errors import StorageError


def test_any_part_of_a_file_is_read_across_its_blocks(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    content = np.random.default_rng(0).integers(0, 256, 9 << 20, np.uint8).tobytes()
    path.write_bytes(content)
    chosen = random.Random(0)
    places = [(0, 10), ((4 << 20) - 3, 6), (len(content) - 5, 10), (len(content) + 1, 4), (0, len(content))]
    places += [(chosen.randrange(len(content)), chosen.randrange(1 << 20)) for _ in range(20)]
    with open_cached(str(path)) as file:
        for start, count in places:
            file.seek(start)
            assert file.read(count) == content[start : start + count]
        assert file.seek(-3, os.SEEK_END) == file.tell() == len(content) - 3
        assert file.read() == content[-3:]


def test_a_missing_file_is_an_error_of_the_store(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        open_cached(str(tmp_path / "none.bin"))
