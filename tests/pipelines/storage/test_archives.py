"""Archives read in place: what is listed, that the bytes are those of an unpacker, what damage does."""

from __future__ import annotations

import io
import os
import random
import stat
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.cloud.storage import Blob

from pipelines.common.cli import UsageError
from pipelines.domain.image_ids import is_image_name
from pipelines.storage import archives, path_lists
from pipelines.storage.archive_member import DEFLATE, MAX_MEMBER_BYTES, STORED, ArchiveError, Member
from pipelines.storage.errors import StorageError
from pipelines.storage.zip_archive import zip_members
from tests.support.gcs import local_gcs, upload

# Names an archive of photographs may hold, with licences beside them.
NAMES = [
    "ISIC_0000001.jpg",
    "Train/basal cell carcinoma/ISIC_0000002 (1).JPG",
    "Train/émile/naïve ümlaut.png",
    "皮膚/写真.jpg",
    "deep/er/and/deeper/" + "long name " * 20 + ".jpg",
    "licenses/CC-0.txt",
    "metadata.csv",
    "empty.jpg",
]
PASSED_OVER = ["__MACOSX/Train/._ISIC_0000001.jpg", ".DS_Store", "Train/.cache/x.jpg"]


def content_of(name: str) -> bytes:
    """Half of it cannot be compressed, half of it can."""
    if name.startswith("empty"):
        return b""
    noise = random.Random(ascii(name))
    return noise.randbytes(noise.randrange(1, 60_000)) + b"skin" * noise.randrange(10_000)


def write_zip(
    target: Any,
    names: Sequence[str] = (*NAMES, *PASSED_OVER),
    methods: Sequence[int] = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
) -> Any:
    """Methods by turns; folders and a link among the files."""
    with zipfile.ZipFile(target, "w") as archive:
        archive.comment = b"Photographs of the ISIC archive"
        archive.mkdir("Train")
        link = zipfile.ZipInfo("link.jpg")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "ISIC_0000001.jpg")
        for turn, name in enumerate(names):
            archive.writestr(name, content_of(name), methods[turn % len(methods)])
    return target


def write_tar(target: Path, names: Sequence[str] = (*NAMES, *PASSED_OVER), form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(target, "w", format=form, encoding="utf-8") as archive:
        for kind, name in [(tarfile.DIRTYPE, "Train"), (tarfile.SYMTYPE, "link.jpg"), (tarfile.FIFOTYPE, "pipe.jpg")]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "ISIC_0000001.jpg"
            archive.addfile(info)
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(content_of(name))
            archive.addfile(info, io.BytesIO(content_of(name)))
    return target


def listed(path: Path) -> dict[str, Member]:
    return {member.name: member for member in archives.list_members(str(path))}


def read_all(path: Path) -> dict[str, bytes]:
    return {name: archives.read_member(str(path), member) for name, member in listed(path).items()}


def refusal(path: Path | str, member: Member) -> str:
    with pytest.raises(ArchiveError) as caught:
        archives.read_member(str(path), member)
    message = caught.value.reason
    assert "\n" not in message
    assert str(path) not in message
    return message


def listing_error(path: Path | str) -> str:
    with pytest.raises(ArchiveError) as caught:
        list(archives.list_members(str(path)))
    message = caught.value.reason
    assert "\n" not in message
    assert str(path) not in message
    return message


EXPECTED = {name: content_of(name) for name in NAMES}


def test_an_archive_is_known_by_its_name() -> None:
    assert all(map(archives.is_archive, ["a.zip", "gs://b/x.ZIP", "x y.Tar", "a.tar.gz", "a.TGZ", "train.hdf5"]))
    assert not any(map(archives.is_archive, ["a.gz", "zip", "a.zip/b.jpg", "a.jpg", "a.tar.bz2", "none.parquet"]))
    for name in ["a.tbz2", "a.TXZ", "a.tar.bz2", "a.tar.xz", "gs://b/a.tar.zst"]:
        assert "compressed tar" in (archives.unsupported_archive(name) or "")
    assert ".7z archives are not read" in (archives.unsupported_archive("photos.7z") or "")
    assert ".rar archives are not read" in (archives.unsupported_archive("photos.RAR") or "")
    assert not any(map(archives.unsupported_archive, ["a.zip", "a.tar", "a.tar.gz", "a.jpg", "target.gzip.jpg", "gz"]))


@pytest.mark.parametrize(
    ("archive", "name"),
    [
        ("a.zip", "b/c.jpg"),
        ("gs://b/x.TAR", "/abs/../c d.jpg"),
        ("ü.zip", "b.zip!/c"),
        ("a.tar.gz", "b.jpg"),
        ("t.hdf5", "g/b"),
    ],
)
def test_member_paths_go_there_and_back(archive: str, name: str) -> None:
    assert archives.split_member_path(archives.member_path(archive, name)) == (archive, name)
    assert archives.split_member_path(archive) is None
    assert archives.split_member_path(f"odd!/{name.replace('.zip', '')}") is None


def test_zip_gives_its_files_in_offset_order(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip")
    members = list(archives.list_members(str(path)))
    assert [member.name for member in members] == NAMES
    assert [member.offset for member in members] == sorted(member.offset for member in members)
    assert {member.method for member in members} == {STORED, DEFLATE}
    assert read_all(path) == EXPECTED


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_tar_gives_its_files_in_offset_order(tmp_path: Path, form: int) -> None:
    path = write_tar(tmp_path / "a.tar", form=form)
    members = list(archives.list_members(str(path)))
    assert [member.name for member in members] == NAMES
    assert {(member.method, member.crc) for member in members} == {(STORED, -1)}
    assert read_all(path) == EXPECTED


def test_zip_with_sizes_after_the_data(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        """What a program writes to that sends an archive over a connection."""

        def __init__(self, file: Any):
            self._file = file

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            return self._file.write(data)

    with open(tmp_path / "a.zip", "wb") as file:
        write_zip(Pipe(file))
    assert read_all(tmp_path / "a.zip") == EXPECTED


def test_a_zip_behind_other_bytes_is_read(tmp_path: Path) -> None:
    whole = write_zip(tmp_path / "whole.zip").read_bytes()
    (tmp_path / "self-extracting.zip").write_bytes(b"MZ" + b"\x90" * 70_001 + whole)
    assert read_all(tmp_path / "self-extracting.zip") == EXPECTED


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_beyond_4_gib(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"large.{kind}"
    with open(path, "wb") as file:  # a hole takes no space on the disk
        if kind == "zip":
            file.seek(5 << 30)
            write_zip(file)
        else:
            size = 5 << 30
            info = tarfile.TarInfo("video.bin")
            info.size = size
            file.write(info.tobuf(tarfile.GNU_FORMAT))
            file.seek(size, os.SEEK_CUR)
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as archive:
                info = tarfile.TarInfo("a.jpg")
                info.size = len(content_of("a.jpg"))
                archive.addfile(info, io.BytesIO(content_of("a.jpg")))
            file.write(buffer.getvalue())
    members = listed(path)
    large = members.pop("video.bin", None)
    assert all(member.offset > 5 << 30 for member in members.values())
    assert {name: archives.read_member(str(path), member) for name, member in members.items()} == (
        EXPECTED if kind == "zip" else {"a.jpg": content_of("a.jpg")}
    )
    if large:
        assert "too large" in refusal(path, large)


def test_members_with_zip64_sizes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in NAMES:
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(content_of(name))
    assert read_all(path) == EXPECTED


def test_a_header_longer_than_most(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in NAMES:
            info = zipfile.ZipInfo(name)
            info.extra = b"\xfe\xca" + (4000).to_bytes(2, "little") + bytes(4000)
            archive.writestr(info, content_of(name))
    assert read_all(path) == EXPECTED


def zip_of_raw_name(path: Path, raw: bytes) -> Path:
    """A zip whose only member has these bytes as its name, without the flag that says UTF-8."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x" * len(raw), b"content")
    path.write_bytes(path.read_bytes().replace(b"x" * len(raw), raw))
    return path


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("größe.jpg".encode("cp437"), "größe.jpg"),
        ("größe/naïve.jpg".encode(), "größe/naïve.jpg"),  # Info-ZIP and macOS: UTF-8, unsaid
        (b"Train\\nevus\\a.jpg", "Train/nevus/a.jpg"),
        (b"/absolute/a.jpg", "/absolute/a.jpg"),
        (b"../../up/a.jpg", "../../up/a.jpg"),
    ],
)
def test_names_in_a_zip_are_read_in_every_encoding(tmp_path: Path, raw: bytes, name: str) -> None:
    assert read_all(zip_of_raw_name(tmp_path / "a.zip", raw)) == {name: b"content"}


def test_names_in_a_tar_are_kept_and_hidden_ones_left_out(tmp_path: Path) -> None:
    names = ["./Train/a.jpg", "/absolute/a.jpg", "../up/a.jpg", "latin-1 \udce9.jpg"]
    path = write_tar(tmp_path / "a.tar", [*names, "./.hidden/b.jpg"], tarfile.GNU_FORMAT)
    assert list(listed(path)) == [*names[:3], "latin-1 é.jpg"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_of_one_name_the_later_member(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    for content in (b"old", b"other", b"new"):
        if kind == "zip":
            with zipfile.ZipFile(path, "a") as archive:
                if content == b"new":
                    with pytest.warns(UserWarning, match="Duplicate"):
                        archive.writestr("a.jpg", content)
                else:
                    archive.writestr("b.jpg" if content == b"other" else "a.jpg", content)
        else:
            with tarfile.open(path, "a") as archive:
                info = tarfile.TarInfo("b.jpg" if content == b"other" else "a.jpg")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    assert read_all(path) == {"b.jpg": b"other", "a.jpg": b"new"}


def test_an_empty_archive_has_no_members(tmp_path: Path) -> None:
    assert listed(write_zip(tmp_path / "a.zip", [])) == {}
    assert listed(write_tar(tmp_path / "a.tar", [])) == {}
    with tarfile.open(tmp_path / "b.tar", "w"):
        pass
    assert listed(tmp_path / "b.tar") == {}


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_any_thread_reads_any_member(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    names = [f"{number}.jpg" for number in range(200)]
    (write_zip if name.endswith("zip") else write_tar)(path, names)
    if name.endswith("zip"):
        with zipfile.ZipFile(path) as archive:
            expected = {inner: archive.read(inner) for inner in names}
    else:
        with tarfile.open(path) as tar:
            expected = {inner: file.read() for inner in names if (file := tar.extractfile(inner))}
    members = list(listed(path).values()) * 2
    random.Random(0).shuffle(members)
    together = threading.Barrier(8)

    def read(part: Any) -> Any:
        together.wait()
        alone = [(member.name, archives.read_member(str(path), member)) for member in part]
        in_chunks = [(member.name, content) for member, content in archives.read_members(str(path), part)]
        assert alone == in_chunks
        return alone

    with ThreadPoolExecutor(8) as threads:
        found = [one for part in threads.map(read, [members[start::8] for start in range(8)]) for one in part]
    assert len(found) == 400
    assert dict(found) == expected


@pytest.mark.parametrize("order", ["as listed", "backwards", "far apart"])
def test_a_chunk_comes_in_the_order_given(tmp_path: Path, order: str) -> None:
    path = write_zip(tmp_path / "a.zip", [f"{number}.jpg" for number in range(300)])
    members = list(archives.list_members(str(path)))
    chunk = {"as listed": members, "backwards": members[::-1], "far apart": members[::60]}[order]
    read = list(archives.read_members(str(path), iter(chunk)))
    assert [member for member, _ in read] == chunk
    assert all(content == content_of(member.name) for member, content in read)


def test_members_larger_than_what_is_read_together(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    contents = {f"{size}.bin": random.Random(size).randbytes(size) for size in (100, archives.SPAN_BYTES + 1, 200)}
    with tarfile.open(path, "w") as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    read = archives.read_members(str(path), archives.list_members(str(path)))
    assert {member.name: content for member, content in read} == contents


# Damage


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, dict[str, Member]]:
    """A zip of three stored members, and its members by name."""
    path = write_zip(tmp_path / "stored.zip", ["a.jpg", "b.jpg", "c.jpg"], [zipfile.ZIP_STORED])
    return path, listed(path)


def test_one_bad_member_takes_no_good_one_with_it(stored: tuple[Path, dict[str, Member]]) -> None:
    path, members = stored
    data = bytearray(path.read_bytes())
    data[members["b.jpg"].offset + 100] ^= 1
    path.write_bytes(data)
    assert "CRC" in refusal(path, members["b.jpg"])
    read = {member.name: content for member, content in archives.read_members(str(path), members.values())}
    assert isinstance(read.pop("b.jpg"), ArchiveError)
    assert read == {name: content_of(name) for name in ("a.jpg", "c.jpg")}


def test_a_truncated_zip_is_refused_and_its_whole_members_are_read(stored: tuple[Path, dict[str, Member]]) -> None:
    path, members = stored
    whole = path.read_bytes()
    for end in (len(whole) - 60, members["c.jpg"].offset + 500, 10, 0):
        path.write_bytes(whole[:end])
        assert "not a whole zip archive" in listing_error(path)
    path.write_bytes(whole[: members["c.jpg"].offset + 500])
    assert "truncated" in refusal(path, members["c.jpg"])
    assert archives.read_member(str(path), members["b.jpg"]) == content_of("b.jpg")
    path.write_bytes(whole[: members["c.jpg"].offset + 10])
    assert "truncated" in refusal(path, members["c.jpg"])


def test_a_store_that_fails_is_not_taken_for_a_damaged_zip() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise StorageError("try later", "ServerError")

    with pytest.raises(StorageError, match="ServerError: try later"):
        list(zip_members(Failing(bytes(100))))


def test_a_truncated_or_damaged_tar_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", ["a.jpg", "b.jpg", "c.jpg"])
    members = listed(path)
    whole = path.read_bytes()
    last = members["c.jpg"].offset
    # In the data, in a header, between two members, in the end mark's place; nothing at all.
    for end in (last + 5, last - 100, last - 512, 0):
        path.write_bytes(whole[:end])
        assert "not a whole" in listing_error(path)
    path.write_bytes(whole[: last + 5])
    assert "truncated" in refusal(path, members["c.jpg"])
    # tarfile alone would end its listing here and say nothing.
    path.write_bytes(whole[: last - 400] + b"?" + whole[last - 399 :])
    assert "not a whole tar archive" in listing_error(path)
    path.write_bytes(whole.rstrip(b"\0") + bytes(2048) + whole)
    assert "not a whole" in listing_error(path) or "several" in listing_error(path)


def test_tars_one_after_another_are_refused(tmp_path: Path) -> None:
    one = write_tar(tmp_path / "one.tar", ["a.jpg"])
    (tmp_path / "two.tar").write_bytes(one.read_bytes() + one.read_bytes())
    assert "several tar archives" in listing_error(tmp_path / "two.tar")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    for name in ("a.zip", "a.tar"):
        path = tmp_path / name
        assert listing_error(path) == "No such file or directory"
        assert refusal(path, Member("a.jpg", 0, 1, 1, 0, -1)) == "No such file or directory"
        path.write_bytes(b"<html>" * 1000)
        assert "not a whole" in listing_error(path)
        path.unlink()
        path.mkdir()
        assert "directory" in listing_error(path)
        path.rmdir()
    with tarfile.open(tmp_path / "gz.tar", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"))
    assert "uncompressed" in listing_error(tmp_path / "gz.tar")


def test_an_encrypted_member_is_refused_and_the_others_are_read(stored: tuple[Path, dict[str, Member]]) -> None:
    path, members = stored
    data = bytearray(path.read_bytes())
    data[members["b.jpg"].offset + 6] |= 1
    directory = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    while data[directory + 46 : directory + 51] != b"b.jpg":
        directory = data.index(b"PK\x01\x02", directory + 4)
    data[directory + 8] |= 1
    path.write_bytes(data)
    assert listed(path) == members
    assert refusal(path, members["b.jpg"]) == "encrypted"
    assert refusal(path, members["a.jpg"]._replace(method=99)) == "encrypted"
    assert archives.read_member(str(path), members["a.jpg"]) == content_of("a.jpg")


@pytest.mark.parametrize(("method", "name"), [(zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "lzma")])
def test_unsupported_methods_say_which(tmp_path: Path, method: int, name: str) -> None:
    path = write_zip(tmp_path / "a.zip", ["a.jpg", "b.jpg"], [method, zipfile.ZIP_STORED])
    members = listed(path)
    assert f"unsupported compression method {method} ({name})" in refusal(path, members["a.jpg"])
    read = dict(archives.read_members(str(path), members.values()))
    assert read[members["b.jpg"]] == content_of("b.jpg")


def test_members_that_are_not_what_the_index_says(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.jpg", bytes(50 << 20))
        archive.writestr("a.jpg", content_of("a.jpg"))
    members = listed(path)
    bomb = members["bomb.jpg"]
    assert "size is not the 100 bytes" in refusal(path, bomb._replace(size=100))
    assert "size is not" in refusal(path, bomb._replace(size=bomb.size + 1))
    assert "too large" in refusal(path, bomb._replace(size=MAX_MEMBER_BYTES + 1))
    assert "too large" in refusal(path, bomb._replace(compressed=1 << 50))
    assert "no member where the index says" in refusal(path, bomb._replace(offset=bomb.offset + 1))
    assert "truncated" in refusal(path, bomb._replace(offset=1 << 40))
    assert "before the archive's start" in refusal(path, bomb._replace(offset=-5))
    assert "size is not" in refusal(path, members["a.jpg"]._replace(method=STORED))
    data = bytearray(path.read_bytes())
    data[bomb.offset + 38 : bomb.offset + 60] = b"\xff" * 22
    path.write_bytes(data)
    assert "damaged" in refusal(path, bomb)


def test_sparse_tar_members_are_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("sparse.jpg")
    info.size = 4
    info.pax_headers = {"GNU.sparse.map": "0,4", "GNU.sparse.size": "4096"}
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"data"))
    assert "sparse" in refusal(tmp_path / "a.tar", listed(tmp_path / "a.tar")["sparse.jpg"])


def deflate64_member(path: Path, content: bytes) -> Member:
    """Without matches, a deflate stream and a deflate64 stream are the same."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", packer.compress(content) + packer.flush())
    return listed(path)["a.jpg"]._replace(method=9, size=len(content), crc=zlib.crc32(content))


def test_deflate64_members_are_read_and_damage_in_them_is_found(tmp_path: Path) -> None:
    pytest.importorskip("zipfile_deflate64")
    path = tmp_path / "a.zip"
    content = content_of("a.jpg") + bytes(100_000)
    member = deflate64_member(path, content)
    assert archives.read_member(str(path), member) == content
    assert "size is not" in refusal(path, member._replace(size=1000))
    assert "damaged" in refusal(path, member._replace(compressed=member.compressed - 100))
    data = bytearray(path.read_bytes())
    data[member.offset + 35 : member.offset + 60] = b"\xff" * 25
    path.write_bytes(data)
    assert "damaged" in refusal(path, member)


def test_deflate64_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zipfile_deflate64", None)
    path = tmp_path / "a.zip"
    assert "zipfile-deflate64" in refusal(path, deflate64_member(path, b"content"))


def test_real_photographs_come_back_from_zip_and_tar(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "ham10000" / "images"
    beside = [path.name for path in folder.iterdir() if not is_image_name(path.name)]
    names = [*sorted(path.name for path in folder.glob("*.jpg"))[::25], *beside]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped, tarfile.open(tmp_path / "a.tar", "w") as tarred:
        for turn, name in enumerate(names):
            zipped.write(folder / name, f"ham/{name}", zipfile.ZIP_DEFLATED if turn % 2 else zipfile.ZIP_STORED)
            tarred.add(folder / name, f"ham/{name}")
    expected = {f"ham/{name}": (folder / name).read_bytes() for name in names if is_image_name(name)}
    assert len(expected) >= 190
    for path in (str(tmp_path / "a.zip"), str(tmp_path / "a.tar")):
        members = [member for member in archives.list_members(path) if is_image_name(member.name)]
        assert {member.name: content for member, content in archives.read_members(path, members)} == expected


# In a bucket

BUCKET = "archives"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """gs://archives/in/ holds a zip and a tar of 300 files, a zip cut short, and lists of paths."""
    folder = tmp_path_factory.mktemp("bucket")
    names = [f"{number}.jpg" for number in range(300)]
    write_zip(folder / "a.zip", names)
    write_tar(folder / "a.tar", names)
    (folder / "cut.zip").write_bytes((folder / "a.zip").read_bytes()[:-100])
    (folder / "list.txt").write_bytes("\ufeffone.jpg\r\n\r\n../two.jpg\r\ngs://other/three.jpg\r\n".encode())
    (folder / "list.csv").write_bytes(b"id,path\r\n1,sub/one.jpg\r\n2,/local/two.jpg\r\n")
    pq.write_table(pa.table({"path": ["sub/one.jpg", "/local/two.jpg"]}), folder / "list.parquet")
    (folder / "wrong.csv").write_bytes(b"id,name\r\n1,a\r\n")
    with local_gcs(tmp_path_factory.mktemp("gcs"), BUCKET) as environment, pytest.MonkeyPatch.context() as patch:
        upload(environment, BUCKET, folder, "in")
        for name, value in environment.items():
            patch.setenv(name, value)
        yield f"gs://{BUCKET}/in"


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Bytes asked for in each download from a bucket."""
    sizes = []
    download = Blob.download_as_bytes

    def counted(blob: Any, *args: object, **kwargs: Any) -> Any:
        data = download(blob, *args, **kwargs)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(Blob, "download_as_bytes", counted)
    return sizes


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_a_member_in_a_bucket_costs_its_own_bytes(bucket: str, fetched: list[Any], name: str) -> None:
    path = f"{bucket}/{name}"
    members = list(archives.list_members(path))
    assert len(members) == 300
    fetched.clear()
    for member in members[100:103]:
        assert archives.read_member(path, member) == content_of(member.name)
    assert len(fetched) == 3
    assert sum(fetched) < sum(member.compressed + 1024 for member in members[100:103])


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_neighbours_in_a_bucket_share_a_request(bucket: str, fetched: list[Any], name: str) -> None:
    path = f"{bucket}/{name}"
    members = list(archives.list_members(path))
    fetched.clear()
    read = list(archives.read_members(path, members))
    assert all(content == content_of(member.name) for member, content in read)
    packed = sum(member.compressed for member in members)
    assert len(fetched) <= packed // archives.SPAN_BYTES + 2
    assert sum(fetched) < packed + 300 * 1024


def test_listing_a_zip_in_a_bucket_reads_its_index(bucket: str, fetched: list[Any]) -> None:
    members = list(archives.list_members(f"{bucket}/a.zip"))
    assert sum(fetched) < sum(member.compressed for member in members) / 10


def test_what_is_wrong_in_a_bucket_is_one_line(bucket: str) -> None:
    assert "not a whole zip archive" in listing_error(f"{bucket}/cut.zip")
    assert listing_error(f"{bucket}/missing.zip")
    assert refusal(f"{bucket}/missing.zip", Member("a.jpg", 0, 1, 1, 0, -1))


def test_lists_in_a_bucket_are_read(bucket: str) -> None:
    texts = list(path_lists.list_paths(f"{bucket}/list.txt"))
    assert texts == [f"{bucket}/one.jpg", f"gs://{BUCKET}/two.jpg", "gs://other/three.jpg"]
    assert list(path_lists.list_paths(f"{bucket}/list.csv")) == [f"{bucket}/sub/one.jpg", "/local/two.jpg"]
    assert list(path_lists.list_paths(f"{bucket}/list.parquet")) == list(path_lists.list_paths(f"{bucket}/list.csv"))
    path_lists.require_path_list("--input", f"{bucket}/list.csv")
    with pytest.raises(UsageError, match=r"needs a column path .* it has id, name"):
        path_lists.require_path_list("--input", f"{bucket}/wrong.csv")
    with pytest.raises(UsageError, match=r"--input gs://archives/in/none\.txt: cannot be read"):
        path_lists.require_path_list("--input", f"{bucket}/none.txt")
