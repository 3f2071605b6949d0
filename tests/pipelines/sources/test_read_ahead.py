"""Reading many files: in order, whole, with what is wrong beside what is right, and in bounded memory."""

from __future__ import annotations

import tarfile
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.beam.threads import map_ahead
from pipelines.sources.list_files import list_files
from pipelines.sources.read_ahead import map_files, read_files
from pipelines.sources.source_file import SourceFile
from pipelines.storage.errors import StorageError


def content_of(name: str) -> bytes:
    return name.encode() * 1000


@pytest.fixture
def places(tmp_path: Path) -> dict[str, list[SourceFile]]:
    """50 files each in a folder, a zip and a tar."""
    names = [f"{number:02d}.jpg" for number in range(50)]
    (tmp_path / "folder").mkdir()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped, tarfile.open(tmp_path / "b.tar", "w") as tarred:
        for name in names:
            (tmp_path / "folder" / name).write_bytes(content_of(name))
            zipped.write(tmp_path / "folder" / name, name)
            tarred.add(tmp_path / "folder" / name, name)
    return {name: list(list_files(str(tmp_path / name))) for name in ("folder", "a.zip", "b.tar")}


def mixed(places: dict[str, list[SourceFile]]) -> list[SourceFile]:
    """Runs of every length, of all three kinds."""
    folder, zipped, tarred = (list(files) for files in places.values())
    return [*folder[:3], *zipped[:40], *tarred[:2], *zipped[40:], *folder[3:], *tarred[2:], zipped[0]]


@pytest.mark.parametrize("threads", [1, 3])
def test_every_file_in_order(places: dict[str, list[SourceFile]], threads: int) -> None:
    files = mixed(places)
    with ThreadPoolExecutor(threads) as pool:
        read = list(read_files(files, lambda function, items: map_ahead(pool, function, items, 2 * threads)))
    assert [file for file, _ in read] == files
    assert all(content == content_of(file.relative) for file, content in read)
    assert list(read_files(files)) == read


def test_what_cannot_be_read_stands_at_its_place(places: dict[str, list[SourceFile]], tmp_path: Path) -> None:
    files = mixed(places)
    files[1] = SourceFile(str(tmp_path / "missing.jpg"), "missing.jpg", 5)
    member = files[10].member
    assert member is not None
    at = member.offset
    archive = bytearray((tmp_path / "a.zip").read_bytes())
    archive[at + 100] ^= 1
    (tmp_path / "a.zip").write_bytes(archive)
    (tmp_path / "b.tar").unlink()
    for file, content in read_files(files):
        damaged = file in (files[1], files[10]) or "b.tar" in file.path
        assert isinstance(content, OSError) if damaged else content == content_of(file.relative)


def test_a_function_sees_each_file_where_it_was_read(places: dict[str, list[SourceFile]]) -> None:
    files = mixed(places)

    def size(file: SourceFile, content: bytes | StorageError) -> tuple[str, int]:
        assert isinstance(content, bytes)
        return file.relative, len(content)

    sizes = map_files(size, files)
    assert list(sizes) == [(file.relative, file.size) for file in files]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_a_large_file_that_is_no_image_is_not_read(tmp_path: Path, method: int) -> None:
    """Of a zip bomb the first bytes are inflated."""
    size = 40 << 20
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method, compresslevel=1) as archive:
        archive.writestr("bomb.jpg", bytes(size))
        archive.writestr("good.jpg", content_of("good"))
        archive.writestr("large.jpg", b"\xff\xd8\xff" + bytes(size))
    with open(tmp_path / "plain.png", "wb") as file:
        file.truncate(size)
    with open(tmp_path / "huge.png", "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate(2 << 30)
    files = {
        file.relative: file for name in ("a.zip", "plain.png", "huge.png") for file in list_files(str(tmp_path / name))
    }
    large = files.pop("large.jpg")
    tracemalloc.start()
    found = {file.relative: content for file, content in read_files(files.values())}
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < size // 2
    assert found["good.jpg"] == content_of("good")
    codes = {name: content.code for name, content in found.items() if isinstance(content, StorageError)}
    assert codes == {"bomb.jpg": "not_an_image", "plain.png": "not_an_image", "huge.png": "too_large"}
    assert "41,943,040 bytes that do not begin like an image" in str(found["plain.png"])
    ((_, content),) = read_files([large])
    assert content == b"\xff\xd8\xff" + bytes(size)
