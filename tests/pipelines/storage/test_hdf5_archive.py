"""HDF5 files with an encoded image a dataset."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from pipelines.storage import archives
from pipelines.storage.archive_member import BY_NAME, STORED, ArchiveError

CONTENT = {f"ISIC_{number:07d}": b"\xff\xd8" + bytes([number]) * (100 + number) + b"\0\xff\xd9" for number in range(5)}


def test_images_in_one_piece_are_read_from_their_places(tmp_path: Path) -> None:
    path = tmp_path / "train-image.hdf5"
    with h5py.File(path, "w") as file:
        for name, data in CONTENT.items():
            file[name] = np.bytes_(data)
        file["figures"] = np.zeros((4, 3))
        file["text/void"] = np.void(b"\0image\0")
    members = list(archives.list_members(str(path)))
    assert {member.method for member in members} == {STORED}
    assert dict(archives.read_members(str(path), members)) == {
        member: {**CONTENT, "text/void": b"\0image\0"}[member.name] for member in members
    }
    assert len(members) == 6


def test_images_in_pieces_are_read_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / "train.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, data in CONTENT.items():
            file.create_dataset(name, data=np.frombuffer(data, np.uint8), chunks=(64,), compression="gzip")
    members = list(archives.list_members(str(path)))
    assert {member.method for member in members} == {BY_NAME}
    assert {member.name: content for member, content in archives.read_members(str(path), members)} == CONTENT
    gone = members[0]._replace(name="ISIC_9999999")
    assert isinstance(dict(archives.read_members(str(path), [gone, members[1]]))[gone], ArchiveError)


def test_a_file_that_only_starts_like_hdf5_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train-image.hdf5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000))
    with pytest.raises(ArchiveError, match="not a whole HDF5 file"):
        list(archives.list_members(str(path)))
