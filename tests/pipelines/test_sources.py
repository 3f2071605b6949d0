"""Listing and reading: what is an input, what is passed over, what ids names carry."""

from __future__ import annotations

import os

import pytest
from collecting import run_source

from pipelines import metadata, sources
from pipelines.check import check_image, folder_split
from pipelines.classes import ISIC9, class_of_path, resolve_classes
from pipelines.cli import UsageError


def tree(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def relatives(root):
    return sorted(file.relative for file in sources.list_images(str(root)))


def test_folders_of_any_depth_and_awkward_names(tmp_path):
    names = ["a.JPG", "deep/er/b (1).jpeg", "émile/naïve ümlaut.png", "with [brackets]/c*.jpg", "d.tiff"]
    tree(tmp_path, *names, "metadata.csv", "LICENSE.txt", ".hidden.jpg", ".cache/e.jpg", "noextension")
    assert relatives(tmp_path) == sorted(names)
    assert {file.size for file in sources.list_images(str(tmp_path))} == {1}


def test_one_file_and_globs(tmp_path):
    tree(tmp_path, "x/a.jpg", "x/b.png", "y/c.jpg")
    assert relatives(tmp_path / "x" / "a.jpg") == ["a.jpg"]
    assert relatives(f"{tmp_path}/*/*.jpg") == ["x/a.jpg", "y/c.jpg"]
    assert relatives(f"{tmp_path}/x/*") == ["a.jpg", "b.png"]


def test_linked_folders_are_followed_once(tmp_path):
    tree(tmp_path / "real", "a.jpg")
    tree(tmp_path / "root", "b.jpg")
    os.symlink(tmp_path / "real", tmp_path / "root" / "linked")
    os.symlink(tmp_path / "root", tmp_path / "root" / "loop")
    assert relatives(tmp_path / "root") == ["b.jpg", "linked/a.jpg"]


@pytest.mark.parametrize("content", [None, "README.md"])
def test_an_input_without_images_is_refused(tmp_path, content):
    if content:
        tree(tmp_path, content)
    with pytest.raises(UsageError, match=r"--input .* holds no image"):
        sources.require_images("--input", str(tmp_path))
    with pytest.raises(UsageError, match="no such file or folder"):
        sources.require_images("--input", str(tmp_path / "missing"))
    with pytest.raises(UsageError, match="holds no image"):
        sources.require_images("--input", str(tmp_path / "*.jpg"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ISIC_0025509(1).jpg", "ISIC_0025509"),
        ("x/isic_0025509.JPG", "ISIC_0025509"),
        ("ISIC_0012345_downsampled.jpg", "ISIC_0012345"),
        ("ISIC_00123456.jpg", "ISIC_00123456"),
        ("photo (2).png", "photo"),
        ("my.photo.png", "my.photo"),
    ],
)
def test_image_ids(name, expected):
    assert sources.image_id_of(name) == expected


@pytest.mark.parametrize("inputs", [["."], [".", "x", "x/a.jpg", "x/*"], ["x", "y"]])
def test_a_path_comes_once_however_many_inputs_hold_it(tmp_path, inputs):
    tree(tmp_path, *(f"x/{n}.jpg" for n in range(100)), "x/a.jpg", "y/c.jpg")
    roots = [str(tmp_path / root) for root in inputs]
    listed = [one for chunk in run_source(sources.ListImages(roots)) for one in chunk]
    assert sorted(one.file.path for one in listed) == sorted(map(str, tmp_path.rglob("*.jpg")))
    if inputs[0] == ".":
        assert {one.root for one in listed} == {str(tmp_path)}


def test_class_and_split_from_folders():
    assert class_of_path(["Train", "Basal_Cell-Carcinoma", "batch 1"], ISIC9) == "basal cell carcinoma"
    assert class_of_path(["melanoma", "nevus"], ISIC9) == "nevus"
    assert class_of_path(["images"], ISIC9) is None
    assert [folder_split(path) for path in (["data", "Train", "nevus"], ["test"], ["Valid", "x"], ["nevus"])] == [
        "train",
        "test",
        "validation",
        "",
    ]


def test_class_sets():
    assert resolve_classes("isic9") == ISIC9
    assert resolve_classes("Nevus, basal_cell_carcinoma") == ("nevus", "basal cell carcinoma")
    for wrong in ("isic99", "", "nevus,nevus"):
        with pytest.raises(UsageError, match="--classes"):
            resolve_classes(wrong)


def check(root, file):
    return check_image(sources.ListedFile(str(root), file), ISIC9)


def test_check_rejects_with_stage_and_reason(tmp_path):
    tree(tmp_path, "nevus/a.jpg", "notes/b.jpg")
    rows = {file.relative: check(tmp_path, file) for file in sources.list_images(str(tmp_path))}
    assert (rows["nevus/a.jpg"].stage, rows["nevus/a.jpg"].reason) == ("check", "not_an_image")
    assert (rows["notes/b.jpg"].stage, rows["notes/b.jpg"].reason) == ("label", "unmapped_label")
    assert "notes" in rows["notes/b.jpg"].message
    gone = sources.SourceFile(str(tmp_path / "nevus" / "gone.jpg"), "nevus/gone.jpg", 1)
    assert check(tmp_path, gone).reason == "unreadable"


def test_root_folder_may_be_the_class(tmp_path):
    tree(tmp_path / "melanoma", "a.jpg")
    file = next(sources.list_images(str(tmp_path / "melanoma")))
    assert check(f"{tmp_path}/melanoma/", file).label == "melanoma"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no rows"),
        ("isic_id,lesion_id\n", "holds no rows"),
        ("name,lesion_id\na,b\n", "needs a column isic_id or image_id"),
        ("isic_id,lesion\na,b\n", "needs a column lesion_id; it has isic_id, lesion"),
        (b"\xff\xfe\x00bad", "not a UTF-8 CSV"),
    ],
)
def test_metadata_without_what_is_needed_is_refused(tmp_path, content, says):
    path = tmp_path / "metadata.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=says):
        metadata.require_metadata(str(path))
    with pytest.raises(UsageError, match="cannot be read"):
        metadata.require_metadata(str(tmp_path / "missing.csv"))


def test_metadata_of_every_origin(tmp_path):
    path = tmp_path / "metadata.csv"
    for header, line in [
        ("isic_id,lesion_id", "ISIC_0000001,IL_1"),
        ("lesion_id,image_id,dx", "IL_1,ISIC_0000001,nv"),
        ("image,age,lesion_id", "ISIC_0000001_downsampled,5,IL_1"),
        ('\ufeff"image_name","lesion_id"', '"ISIC_0000001","IL_1"\n"ISIC_0000002",""'),
    ]:
        path.write_text(f"{header}\n{line}\n", encoding="utf-8")
        metadata.require_metadata(str(path))
        assert list(metadata.read_lesions(str(path))) == [("ISIC_0000001", "IL_1")]


def test_real_tables(shared_data):
    assert len(list(metadata.read_lesions(str(shared_data / "tables/HAM10000_metadata.csv")))) == 10015
    metadata.require_metadata(str(shared_data / "ham10000/images/metadata.csv"))
    with pytest.raises(UsageError, match="lesion_id"):
        metadata.require_metadata(str(shared_data / "isic_cli_download/metadata.csv"))
