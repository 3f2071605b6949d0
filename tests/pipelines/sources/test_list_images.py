"""Listing and reading: what is an input, what is passed over, what ids names carry."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from pipelines.sources.list_images import (
    ListedFile,
    ListImages,
    _best,
    folder_name,
    images_of,
)
from pipelines.sources.source_file import SourceFile
from tests.support.collecting import run_source
from tests.support.image_trees import list_images, tree
from tests.support.inputs import require_images


def relatives(root: Path | str) -> list[str]:
    return sorted(file.relative for file in list_images(root))


def test_folders_of_any_depth_and_awkward_names(tmp_path: Path) -> None:
    names = ["a.JPG", "deep/er/b (1).jpeg", "émile/naïve ümlaut.png", "with [brackets]/c*.jpg", "d.tiff"]
    names += ["e" * 251 + ".jpg", "UPPER/F.JPEG", "nai\u0308ve.jpg", "a,b;c.png", "'quoted\".jpg", " blanks .jpg"]
    tree(tmp_path, *names, "metadata.csv", "LICENSE.txt", ".hidden.jpg", ".cache/e.jpg", "noextension")
    assert relatives(tmp_path) == sorted(names)
    assert {file.size for file in list_images(tmp_path)} == {1}


def test_one_file_and_globs_list_what_they_name(tmp_path: Path) -> None:
    tree(tmp_path, "x/a.jpg", "x/b.png", "y/c.jpg")
    assert relatives(tmp_path / "x" / "a.jpg") == ["a.jpg"]
    assert relatives(f"{tmp_path}/*/*.jpg") == ["x/a.jpg", "y/c.jpg"]
    assert relatives(f"{tmp_path}/x/*") == ["a.jpg", "b.png"]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    tree(tmp_path / "real", "a.jpg")
    tree(tmp_path / "root", "b.jpg")
    os.symlink(tmp_path / "real", tmp_path / "root" / "linked")
    os.symlink(tmp_path / "root", tmp_path / "root" / "loop")
    assert relatives(tmp_path / "root") == ["b.jpg", "linked/a.jpg"]


@pytest.mark.parametrize("content", [None, "README.md"])
def test_an_input_without_images_is_refused(tmp_path: Path, content: str | None) -> None:
    if content:
        tree(tmp_path, content)
    with pytest.raises(UsageError, match=r"--input .* holds no image"):
        require_images("--input", str(tmp_path))
    with pytest.raises(UsageError, match="no such file or folder"):
        require_images("--input", str(tmp_path / "missing"))
    with pytest.raises(UsageError, match="matches no image"):
        require_images("--input", str(tmp_path / "*.jpg"))


@pytest.mark.parametrize("inputs", [["."], [".", "x", "x/a.jpg", "x/*"], ["x", "y"]])
def test_a_path_comes_once_however_many_inputs_hold_it(tmp_path: Path, inputs: list[str]) -> None:
    tree(tmp_path, *(f"x/{n}.jpg" for n in range(100)), "x/a.jpg", "y/c.jpg")
    roots = [str(tmp_path / root) for root in inputs]
    (tmp_path / "x" / "LICENSE.txt").write_text("licence")
    listed = [one for chunk in run_source(ListImages(roots)) for one in images_of(chunk)]
    assert sorted(one.file.path for one in listed) == sorted(map(str, tmp_path.rglob("*.jpg")))
    if inputs[0] == ".":
        assert {one.root for one in listed} == {str(tmp_path)}


def listed_under(*roots: object) -> list[str]:
    chunks = run_source(ListImages([str(root) for root in roots]))
    return sorted(one.file.path for chunk in chunks for one in chunk)


def test_links_to_one_file_are_files_and_other_spellings_are_not(tmp_path: Path) -> None:
    tree(tmp_path / "store", "a.jpg")
    for name in ("Train/nevus/a.jpg", "Test/melanoma/b.jpg"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True)
        path.symlink_to(tmp_path / "store" / "a.jpg")
    os.symlink(tmp_path / "set", tmp_path / "linked")
    links = [str(tmp_path / "set" / name) for name in ("Test/melanoma/b.jpg", "Train/nevus/a.jpg")]
    assert listed_under(tmp_path / "set" / "Train", tmp_path / "set" / "Test") == links
    spelled = listed_under(tmp_path / "set", f"{tmp_path}/./set/", f"{tmp_path}/store/../set/Test")
    assert sorted(map(os.path.normpath, spelled)) == links
    assert len(listed_under(tmp_path / "set", tmp_path / "linked", tmp_path / "store")) == 3


def test_names_in_an_archive_are_only_names(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("b.jpg", "x/../b.jpg", "x/b.jpg"):
            archive.writestr(name, name)
    os.symlink(tmp_path, tmp_path / "linked")
    found = listed_under(tmp_path / "a.zip", tmp_path / "linked" / "a.zip")
    assert [path.rpartition("!/")[2] for path in found] == ["b.jpg", "x/../b.jpg", "x/b.jpg"]


def test_members_of_several_archives_come_in_the_order_in_which_they_lie(tmp_path: Path) -> None:
    names = [f"{number * 7 % 200}.jpg" for number in range(200)]
    for archive in ("a.zip", "b.zip"):
        with zipfile.ZipFile(tmp_path / archive, "w") as file:
            for name in names:
                file.writestr(name, name)
    tree(tmp_path / "folder", "c.jpg", "d.jpg")
    roots = [str(tmp_path / name) for name in ("a.zip", "folder", "b.zip")]
    chunks = run_source(ListImages(roots))
    assert sum(map(len, chunks)) == 402
    for chunk in chunks:
        assert len({listed.root for listed in chunk}) == 1
        offsets = [listed.file.member.offset for listed in chunk if listed.file.member]
        assert offsets == sorted(offsets)
    assert len(chunks) == 2 * 4 + 1


def test_of_two_listings_of_a_file_one_is_taken_in_any_order() -> None:
    listings = [
        ListedFile(root, SourceFile(path, relative, size))
        for root in ("/r", "/q")
        for path in ("/q/./a.jpg", "/q/a.jpg")
        for relative in ("a.jpg", "b.jpg")
        for size in (0, 5)
    ]
    taken = {_best(order) for order in (listings, listings[::-1], sorted(listings))}
    assert len(taken) == 1


@pytest.mark.parametrize(
    ("root", "name"),
    [
        ("melanoma/", "melanoma"),
        ("x/melanoma/.", "melanoma"),
        ("h/vascular lesion/*.jpg", "vascular lesion"),
        ("data/Train/*/x.jpg", "Train"),
        ("data/Tr*/nevus/x.jpg", "data"),
        ("*.jpg", ""),
        ("/*.jpg", ""),
        ("gs://bucket/Test/*.jpg", "Test"),
        ("gs://bucket/Test/", "Test"),
        ("gs://bucket/nevus/a.jpg", "nevus"),
        ("down/Train.zip", "Train"),
        ("Test.TAR", "Test"),
        ("gs://bucket/Test.zip", "Test"),
        ("nevus/a.jpg", "nevus"),
        ("a.jpg", ""),
        ("nevus/list.csv", ""),
    ],
)
def test_the_folder_that_an_input_stands_for(root: str, name: str) -> None:
    assert folder_name(root) == name


@pytest.mark.parametrize("name", ["fold.zip", "fold.tar", "fold.tar.gz", "fold.7z", "fold.txt", "fold.csv"])
def test_a_folder_is_a_folder_whatever_its_name(tmp_path: Path, name: str) -> None:
    tree(tmp_path / name, "a.jpg")
    require_images("--input", str(tmp_path / name))
    assert relatives(tmp_path / name) == ["a.jpg"]
    assert folder_name(str(tmp_path / name)) == name
