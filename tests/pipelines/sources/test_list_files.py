"""What a listing says of each file, and that a bucket listed in parts gives every object once."""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
import urllib.parse
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.sources import list_images
from pipelines.sources.list_files import list_files, list_units
from pipelines.sources.read_ahead import read_files
from pipelines.storage.archive_member import ArchiveError
from pipelines.storage.errors import StorageError
from tests.support.collecting import run_source
from tests.support.gcs import local_gcs, open_bucket
from tests.support.permissions import without_override

BUCKET = "listed"
PAGE = 20
ODD = [
    "!first.jpg",
    "#1.jpg",
    "-.jpg",
    "0.jpg",
    "9.jpg",
    ":.jpg",
    "A.jpg",
    "I.jpg",
    "ISIC_.jpg",
    "ISIC_0.jpg",
    "ISIC_9999999.jpg",
    "ISIC_:.jpg",
    "ISIC_a.jpg",
    "J.jpg",
    "Z.jpg",
    "Zz/deep/er.jpg",
    "[a].jpg",
    "_.jpg",
    "a b (1).jpg",
    "a+b%20c.jpg",
    "z.jpg",
    "zz.jpg",
    "{.jpg",
    "~last.jpg",
    "\u00e9mile.jpg",
    "\u65e5\u672c.jpg",
    "\U0001f40d.jpg",
]
FLAT = [f"ISIC_{number:07d}.jpg" for number in range(0, 100_000, 1_013)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A bucket that gives PAGE objects at once: names of every kind in many/, three in few/, a neighbour of each."""
    with local_gcs(tmp_path_factory.mktemp("gcs"), BUCKET, PAGE) as environment, pytest.MonkeyPatch.context() as patch:
        bucket = open_bucket(environment, BUCKET)
        names = [f"many/{name}" for name in ODD + FLAT]
        names += [
            "few/a.jpg",
            "few/b.png",
            "few/.hidden.jpg",
            "few/.cache/c.jpg",
            "few/LICENSE",
            "many.jpg",
            "many0/x.jpg",
        ]
        for name in names:
            bucket.blob(name).upload_from_string(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        yield environment


@pytest.fixture
def asked(environment: Any) -> Any:
    """What is asked of the bucket during a test."""
    environment.requests.clear()
    return environment.requests


def listings(requests: Any) -> Any:
    """How many pages were asked for; nothing else was but, by the client for its own ends, the bucket's own data.

    Not counted: the first bytes of files without an extension.
    """
    pages = [request for request in requests if request.startswith(f"GET /storage/v1/b/{BUCKET}/o?")]
    heads = [request for request in requests if request.startswith(f"GET /download/storage/v1/b/{BUCKET}/o/")]
    others = [request for request in requests if request not in pages + heads]
    names = [urllib.parse.unquote(request.partition("?")[0].rpartition("/")[2]) for request in heads]
    assert not any("." in posixpath.basename(name) for name in names)
    assert len(set(names)) == len(names)
    assert {request.partition("?")[0] for request in others} <= {f"GET /storage/v1/b/{BUCKET}"}
    return len(pages)


def relatives(chunks: Any) -> Any:
    return sorted(listed.file.relative for chunk in chunks for listed in chunk if not listed.file.is_passed_over)


def test_a_bucket_in_parts_gives_every_object_once(asked: Any) -> None:
    assert len(list(list_units(f"gs://{BUCKET}/many"))) > 60
    asked.clear()
    chunks = run_source(list_images.ListImages([f"gs://{BUCKET}/many"]))
    assert relatives(chunks) == sorted(ODD + FLAT)
    assert {listed.file.path for chunk in chunks for listed in chunk} == {f"gs://{BUCKET}/many/{n}" for n in ODD + FLAT}
    assert listings(asked) < 1 + 73 + len(ODD + FLAT) / PAGE


@pytest.mark.parametrize("place", ["many/ISIC_00*.jpg", "m*/ISIC_00*.jpg", "many/**00*.jpg"])
def test_a_pattern_in_a_bucket_finds_its_objects(asked: Any, place: Any) -> None:
    chunks = run_source(list_images.ListImages([f"gs://{BUCKET}/{place}"]))
    start = "many/" if place.startswith("m*") else ""
    expected = {start + name for name in FLAT if name.startswith("ISIC_00")}
    if "**" not in place:
        assert set(relatives(chunks)) == expected
    else:
        assert set(relatives(chunks)) == {name for name in ODD + FLAT if "00" in name}
    assert listings(asked)


def test_a_small_folder_costs_two_requests(asked: Any) -> None:
    chunks = run_source(list_images.ListImages([f"gs://{BUCKET}/few/"]))
    assert relatives(chunks) == ["LICENSE", "a.jpg", "b.png"]
    assert listings(asked) == 2


def test_one_object_and_nothing(asked: Any) -> None:
    (file,) = list_files(f"gs://{BUCKET}/many.jpg")
    assert (file.path, file.relative, file.size) == (f"gs://{BUCKET}/many.jpg", "many.jpg", len("many.jpg"))
    assert list(list_files(f"gs://{BUCKET}/nothing")) == []


def test_an_object_has_one_version_however_it_is_found(environment: Any, tmp_path: Path) -> None:
    path = f"gs://{BUCKET}/few/a.jpg"
    (tmp_path / "list.txt").write_text(path)
    roots = (f"gs://{BUCKET}/few", f"gs://{BUCKET}/few/*.jpg", path, str(tmp_path / "list.txt"))
    found = [next(file for file in list_files(root) if file.path == path) for root in roots]
    assert len({(file.size, file.version) for file in found}) == 1
    assert found[0].size == len("few/a.jpg")
    blob = open_bucket(environment, BUCKET).get_blob("few/a.jpg")
    assert found[0].version == f"generation:{blob.generation}/crc32c:{blob.crc32c}"
    open_bucket(environment, BUCKET).blob("few/a.jpg").upload_from_string("FEW/A.JPG")
    changed = [next(file for file in list_files(root) if file.path == path) for root in roots]
    assert {file.size for file in changed} == {found[0].size}
    assert len({file.version for file in changed}) == 1
    assert changed[0].version != found[0].version


def test_a_list_of_objects_asks_for_many_at_once(asked: Any, tmp_path: Path) -> None:
    names = [f"gs://{BUCKET}/many/{name}" for name in ODD + FLAT if "[" not in name]
    names += [f"gs://{BUCKET}/missing.jpg", "gs://bucket.jpg"]
    (tmp_path / "list.txt").write_text("".join(f"{name}\n" for name in (*names, names[0])))
    chunks = run_source(list_images.ListImages([str(tmp_path / "list.txt")]))
    files = {listed.file.path: listed.file for chunk in chunks for listed in chunk}
    assert sorted(files) == sorted(names)
    assert sum(map(len, chunks)) == len(names)
    batches = [request for request in asked if request.startswith("POST /batch/")]
    assert listings([request for request in asked if request not in batches]) == 0
    assert 0 < len(batches) <= len(names) // 64 + 1
    for name in names[:-2]:
        assert files[name].size == len(name.removeprefix(f"gs://{BUCKET}/").encode())
        assert files[name].version
    assert {(files[name].size, files[name].version) for name in names[-2:]} == {(0, "")}


def test_a_local_file_has_one_version_however_it_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(b"old")
    (tmp_path / "list.csv").write_text("path\nx/a.jpg\nx/missing.jpg\n")
    roots = [str(tmp_path / "x"), str(tmp_path / "*" / "*.jpg"), str(path), str(tmp_path / "list.csv")]

    def states() -> Any:
        return {(file.size, file.version) for root in roots for file in list_files(root) if file.path == str(path)}

    assert states() == {(3, f"mtime:{path.stat().st_mtime_ns}")}
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert states() == {(3, f"mtime:{path.stat().st_mtime_ns}")}
    missing = [file for file in list_files(roots[-1]) if file.path.endswith("missing.jpg")]
    assert [(file.size, file.version) for file in missing] == [(0, "")]


def test_members_have_checksums_or_the_archives_version(tmp_path: Path) -> None:
    content = {"a.jpg": b"one", "b.jpg": b"two"}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped, tarfile.open(tmp_path / "a.tar", "w") as tarred:
        for name, data in content.items():
            zipped.writestr(name, data)
            (tmp_path / name).write_bytes(data)
            tarred.add(tmp_path / name, name)
    in_zip = {file.relative: file.version for file in list_files(str(tmp_path / "a.zip"))}
    assert in_zip == {name: f"crc32:{zlib.crc32(data):08x}" for name, data in content.items()}
    in_tar = {file.relative: file.version for file in list_files(str(tmp_path / "a.tar"))}
    assert len(set(in_tar.values())) == 2
    os.utime(tmp_path / "a.tar", ns=(0, 1))
    later = {file.relative: file.version for file in list_files(str(tmp_path / "a.tar"))}
    assert all(later[name] != in_tar[name] for name in content)


def test_parts_of_a_long_list(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("".join(f"{number}.jpg\n" for number in range(1000)))
    chunks = run_source(list_images.ListImages([str(tmp_path / "list.txt")]))
    assert sum(map(len, chunks)) == 1000
    assert len(list(list_units(str(tmp_path / "list.txt")))) == 16


def test_archives_in_a_folder_are_listed_as_folders_of_their_names(tmp_path: Path) -> None:
    for part in ("imgs_part_1", "imgs_part_2", "unpacked", "texts"):
        with zipfile.ZipFile(tmp_path / f"{part}.zip", "w") as archive:
            archive.writestr(f"{part[:4]}/{part}.{'txt' if part == 'texts' else 'png'}", "x")
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "unpacked" / "unpacked.png").write_bytes(b"x")
    (tmp_path / "imgs_part_1").mkdir()
    (tmp_path / "imgs_part_1" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    expected = {
        "imgs_part_1/imgs/imgs_part_1.png": True,
        "imgs_part_2/imgs/imgs_part_2.png": True,
        "unpacked/unpacked.png": True,
        # What is unpacked beside it, or holds no image, is a file like any other.
        "unpacked.zip": False,
        "texts.zip": False,
        "notes.txt": False,
    }
    assert {file.relative: file.is_image for file in list_files(str(tmp_path))} == expected
    some = list_files(f"{tmp_path}/imgs_part_*.zip")
    assert sorted(file.path for file in some) == [
        f"{tmp_path}/imgs_part_{part}.zip!/imgs/imgs_part_{part}.png" for part in (1, 2)
    ]


def test_a_damaged_archive_in_a_folder_is_one_file_that_cannot_be_read(tmp_path: Path) -> None:
    damaged = {
        "backup.zip": b"hello world",
        "empty.zip": b"",
        "foreign.tar": b"x" * 600,
        "odd.tgz": b"x",
        "odd.h5": b"x",
    }
    for name, content in {**damaged, "1.png": b"x", "broken.parquet": b"PAR1"}.items():
        (tmp_path / name).write_bytes(content)
    files = sorted(list_files(str(tmp_path)), key=lambda file: file.relative)
    assert {file.relative for file in files if file.is_image} == {*damaged, "1.png"}
    found = {file.relative: content for file, content in read_files(files) if isinstance(content, StorageError)}
    assert found.keys() == damaged.keys()
    assert "not a whole zip archive" in str(found["backup.zip"])
    with pytest.raises(ArchiveError):  # what is named by itself must be whole
        list(list_files(str(tmp_path / "backup.zip")))


def test_arrays_of_bytes_in_a_folder_are_images_if_they_begin_like_some(tmp_path: Path) -> None:
    image = io.BytesIO()
    Image.new("RGB", (8, 8)).save(image, "PNG")
    for name, data in (("weights.h5", b"adam"), ("photos.h5", image.getvalue())):
        with h5py.File(tmp_path / name, "w") as file:
            file["first"] = np.frombuffer(data, np.uint8)
    pq.write_table(pa.table({"audio": [{"bytes": b"RIFF", "path": "1.wav"}]}), tmp_path / "sounds.parquet")
    found = {file.relative: file.is_image for file in list_files(str(tmp_path))}
    assert found == {"photos/first": True, "weights.h5": False, "sounds.parquet": False}


@pytest.mark.parametrize("pattern", ["", "/**.jpg", "/*/*.jpg"])
def test_a_folder_that_may_not_be_read_is_one_file_that_cannot_be_read(tmp_path: Path, pattern: str) -> None:
    for name in ("open/1.jpg", "closed/2.jpg", "open/closed too/3.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for name in ("closed", "open/closed too"):
        (tmp_path / name).chmod(0)
    with without_override():
        files = list(list_files(f"{tmp_path}{pattern}"))
    # The second one is too deep for the last pattern.
    closed = {"closed"} if pattern == "/*/*.jpg" else {"closed", "open/closed too"}
    assert {file.relative for file in files} == {"open/1.jpg", *closed}
    found = {file.relative: str(content) for file, content in read_files(files) if file.relative in closed}
    assert set(found.values()) == {"PermissionError: the folder may not be read"}
    assert all(file.is_image for file in files)


@pytest.mark.parametrize("pattern", ["", "/*.jpg"])
def test_an_input_that_may_not_be_read_is_not_listed(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "in").mkdir(mode=0)
    with without_override(), pytest.raises(StorageError, match="Permission denied"):
        list(list_files(f"{tmp_path}/in{pattern}"))


@pytest.mark.parametrize("name", ["a.jpg", "a.zip", "a.tar", "a.tar.gz", "a.h5", "a.parquet", "a"])
def test_a_pipe_or_device_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).symlink_to(tmp_path / "pipe")
    (tmp_path / "in" / f"null {name}").symlink_to("/dev/zero")
    files = list(list_files(str(tmp_path / "in")))
    assert len(files) == 2
    for file, content in read_files(files):
        assert isinstance(content, StorageError), file.path
        assert "not a regular file" in str(content)
