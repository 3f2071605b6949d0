"""Compressed tars are read at any member."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from pathlib import Path

import pytest

from pipelines.storage import archives
from pipelines.storage.archive_member import ArchiveError
from pipelines.storage.gzip_file import open_gzip

CONTENT = {f"ISIC_{number:07d}.jpg": random.Random(number).randbytes(1 << 20) for number in range(16)}


def packed_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in CONTENT.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize("parts", [1, 3])
def test_members_of_a_tar_gz_are_read_in_any_order(tmp_path: Path, parts: int) -> None:
    path, data = tmp_path / "images.tar.gz", packed_tar()
    size = -(-len(data) // parts)
    path.write_bytes(b"".join(gzip.compress(data[start : start + size], 1) for start in range(0, len(data), size)))
    members = list(archives.list_members(str(path)))
    assert [member.name for member in members] == list(CONTENT)
    for some in (members, members[::-1], random.Random(0).sample(members, 6), members[7:8]):
        assert [(member.name, content) for member, content in archives.read_members(str(path), some)] == [
            (member.name, CONTENT[member.name]) for member in some
        ]


def test_a_gzip_file_gives_its_content_from_any_offset(tmp_path: Path) -> None:
    path, data = tmp_path / "a.gz", random.Random(1).randbytes(10 << 20)
    path.write_bytes(gzip.compress(data, 1))
    with open_gzip(str(path)) as file:
        for offset in (9 << 20, 0, 5 << 20, (5 << 20) + 7, len(data) - 3, len(data), 17):
            file.seek(offset)
            assert file.read(1000) == data[offset : offset + 1000]


def test_a_truncated_or_damaged_tar_gz_is_refused(tmp_path: Path) -> None:
    path, whole = tmp_path / "a.tgz", gzip.compress(packed_tar(), 1)
    for damaged in (whole[: len(whole) // 2], whole[:-8] + bytes(8), b"", b"\0" * 100):
        path.write_bytes(damaged)
        with pytest.raises(ArchiveError):
            list(archives.list_members(str(path)))
