"""What is an image is found by name or first bytes; what is not, and what systems leave, is counted by kind."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

import apache_beam as beam
import pytest
from PIL import Image

from pipelines.common.cli import UsageError
from pipelines.dataset.accounting import beside_lines, describe_beside, images_listed
from pipelines.imaging.signatures import HEAD_BYTES, is_image_head
from pipelines.sources.list_files import list_files
from pipelines.sources.list_images import CountListed, ListImages, images_of
from pipelines.sources.location import Location
from pipelines.sources.locations import check_locations
from tests.support.collecting import run_source

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000")


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def write(folder: Path, **files: bytes) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs with and without names that tell, other files, and what systems left among them."""
    picture = encoded("JPEG")
    images = {"nevus/a.jpg": picture, "nevus/b": picture, "nevus/c.scan": picture, "nevus/d.jpg_large": picture}
    others = {"LICENSE": b"CC-0", "tables/t.CSV": b"a,b", "u.csv": b"", "v.csv": b"", "w.csv": b"", "x.20240101": b"?"}
    thumbnail = {"nevus/@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg": picture, "@EADIR/b.jpg": picture}
    dropped = {"__MACOSX/nevus/._a.jpg": b"", ".thumbnails/t.jpg": picture, "nevus/._a.jpg": b"", ".DS_Store": b""}
    bins = {
        "#recycle/old.jpg": picture,
        "~snapshot/hourly.0/a.jpg": picture,
        "lost+found/x": picture,
        ".git/config": b"",
        ".Trash-1000/y.jpg": picture,
    }
    bins |= {"~snapshot/hourly.0/a.jpg": picture, "FOUND.000/FILE0000.CHK": picture, "nevus/Icon\r": b"?"}
    folder = tmp_path_factory.mktemp("mixed") / "set"
    return write(folder, **images, **others, **thumbnail, **dropped, **bins, empty=b"")


class _Counted(beam.PTransform):
    def __init__(self, root: Path):
        super().__init__()
        self._root = root

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[Mapping]:
        return begin | ListImages([str(self._root)]) | CountListed()


def images_in(root: Path) -> list[str]:
    found = run_source(ListImages([str(root)]))
    return sorted(listed.file.relative for chunk in found for listed in images_of(chunk))


IMAGES = ["nevus/a.jpg", "nevus/b", "nevus/c.scan", "nevus/d.jpg_large"]
IGNORED = {".csv": 4, "no extension": 2, "other extensions": 1}


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "list"])
def test_every_file_is_an_image_or_counted_by_kind_with_its_first_names(mixed: Path, tmp_path: Path, kind: str) -> None:
    root: Path = mixed
    if kind in ("zip", "tar"):
        root = Path(shutil.make_archive(str(tmp_path / "set"), kind, mixed))
    elif kind == "list":
        root = tmp_path / "list.txt"
        root.write_text(f"{mixed}\n")
    (listed,) = run_source(_Counted(root))
    beside = describe_beside(listed)
    assert images_in(root) == IMAGES
    assert {entry["kind"]: entry["files"] for entry in beside["ignored"]} == IGNORED
    assert beside["ignored"][0] == {"kind": ".csv", "files": 4, "first": ["tables/t.CSV", "u.csv", "v.csv"]}
    assert (listed["listed",], images_listed(listed)) == (len(IMAGES) + 7, len(IMAGES))
    passed = {entry["kind"]: entry["first"][0] for entry in beside["passed_over"]}
    assert passed.keys() == {
        *("@eaDir", "@EADIR", "__MACOSX", ".thumbnails", "#recycle", "~snapshot", "lost+found", ".Trash-*"),
        *("._*", "hidden files", "hidden folders", "FOUND.*"),
    }
    lines = beside_lines(beside, "audit.json")
    assert lines[0] == "  ignored, no images: 4 .csv (tables/t.CSV, u.csv, v.csv, …)"
    assert lines[-1] == "  passed over: 4 of 4 other kinds, see audit.json"
    assert all(map(str.isprintable, lines))
    if kind == "folder":  # a folder is passed over whole, and its files are not looked for
        assert passed["@eaDir"] == "nevus/@eaDir"


def test_a_pattern_takes_thumbnails_only_if_it_names_their_folder(mixed: Path) -> None:
    assert [Path(file.path).name for file in list_files(f"{mixed}/**.jpg") if "._" not in file.path] == ["a.jpg"]
    named = [Path(file.path).name for file in list_files(f"{mixed}/**/@eaDir/**.jpg")]
    assert named == ["SYNOPHOTO_THUMB_M.jpg"]


def test_an_unreadable_system_folder_does_not_stop_the_listing(mixed: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", **{"a.jpg": b"x", "lost+found/b.jpg": b"x"})
    (folder / "lost+found").chmod(0)
    assert [file.relative for file in list_files(str(folder))] == ["a.jpg"]
    (folder / "lost+found").chmod(0o700)


def test_a_listed_file_that_is_missing_is_rejected_whatever_its_name(tmp_path: Path) -> None:
    write(tmp_path, **{"ISIC_1": encoded("PNG"), "a1.jpg": b"x", "[b].jpg": b"x"})
    (tmp_path / "list.txt").write_text("ISIC_1\nISIC_2\na[1].jpg\n[b].jpg\nc.jpg\n")
    files = list(list_files(str(tmp_path / "list.txt")))
    assert sorted(Path(file.path).name for file in files if file.size) == ["ISIC_1", "[b].jpg"]
    missing = [file for file in files if not file.size]
    assert sorted(Path(file.path).name for file in missing if file.is_image) == ["ISIC_2", "a[1].jpg", "c.jpg"]


@pytest.mark.parametrize("kind", FORMATS)
def test_images_are_known_by_their_first_bytes(kind: str) -> None:
    assert is_image_head(encoded(kind)[:HEAD_BYTES])


@pytest.mark.parametrize("content", [b"", b"BM is a text", b"GIF", b"\xff\xd8", b"RIFF....WAVE", b"....ftypisom"])
def test_other_files_are_not(content: bytes) -> None:
    assert not is_image_head(content)


def test_an_input_of_unnamed_images_is_accepted_and_one_of_texts_refused(tmp_path: Path) -> None:
    good = write(tmp_path / "good", **{"README": b"text", "ISIC_1": encoded("JPEG")})
    with zipfile.ZipFile(tmp_path / "good.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(good / "ISIC_1", "ISIC_1")
    check_locations([Location("--input", str(good), True), Location("--input", f"{good}.zip", True)], None)
    (good / "ISIC_1").unlink()
    with pytest.raises(UsageError, match="holds no image"):
        check_locations([Location("--input", str(good), True)], None)


def test_a_pipe_without_a_name_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert images_in(tmp_path) == []
