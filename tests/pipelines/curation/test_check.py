"""What a file and its folders say of an image, and why an image is rejected."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from pipelines.curation.check import folder_split, inspect, inspect_again, read_row
from pipelines.dataset.image_row import ImageRow
from pipelines.domain.taxonomy import built_in_set
from pipelines.sources.layouts import Source
from pipelines.sources.list_images import (
    ListedFile,
    SourceFile,
)
from tests.support.image_files import encode, photograph
from tests.support.image_trees import list_images, tree


def test_the_deepest_folder_that_names_a_split_decides() -> None:
    assert [folder_split(path) for path in (["data", "Train", "nevus"], ["test"], ["Valid", "x"], ["nevus"])] == [
        "train",
        "test",
        "validation",
        "",
    ]


def check(root: Path | str, file: SourceFile) -> ImageRow:
    inputs = {str(root): Source("here", str(root))}
    return inspect(*read_row(ListedFile(str(root), file), inputs, built_in_set("isic9")))


def test_check_rejects_with_stage_and_reason(tmp_path: Path) -> None:
    tree(tmp_path, "nevus/a.jpg", "notes/b.jpg")
    rows = {file.relative: check(tmp_path, file) for file in list_images(tmp_path)}
    assert (rows["nevus/a.jpg"].stage, rows["nevus/a.jpg"].reason) == ("check", "not_an_image")
    assert rows["nevus/a.jpg"].claims[0].classes == ("nevus",)
    assert rows["notes/b.jpg"].claims[0].classes == ()
    gone = SourceFile(str(tmp_path / "nevus" / "gone.jpg"), "nevus/gone.jpg", 1)
    assert check(tmp_path, gone).reason == "unreadable"


def test_the_folder_of_an_input_may_be_class_and_split(tmp_path: Path) -> None:
    tree(tmp_path / "Train" / "melanoma", "a [1].jpg")
    with zipfile.ZipFile(tmp_path / "Test.zip", "w") as archive:
        archive.writestr("melanoma/b.jpg", "x")
    for root, split in (
        ("Train/melanoma/", ""),
        ("Train/melanoma/*.jpg", ""),
        ("Train/melanoma/a [1].jpg", ""),
        ("Train/*/*.jpg", "train"),
        ("Test.zip", "test"),
    ):
        (row,) = (check(f"{tmp_path}/{root}", file) for file in list_images(f"{tmp_path}/{root}"))
        assert (row.claims[0].classes, row.folder_split) == (("melanoma",), split), root


def test_where_there_is_no_folder_none_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a.jpg")
    monkeypatch.chdir(tmp_path)
    (file,) = list_images("*.jpg")
    assert (file.relative, check("*.jpg", file).claims) == ("a.jpg", ())


def test_a_good_image_has_format_size_hash_and_thumbnail(tmp_path: Path) -> None:
    data = encode(photograph(150, 90))
    row = inspect(ImageRow("a", "a"), data)
    assert (row.outcome, row.format, row.width, row.height) == ("", "jpeg", 150, 90)
    assert row.phash
    assert row.thumbnail
    # The same picture as PNG: other bytes, the same thumbnail but for what JPEG loses.
    other = inspect(ImageRow("b", "b"), encode(photograph(150, 90), "PNG"))
    assert (other.format, len(other.thumbnail)) == ("png", len(row.thumbnail))


def test_an_image_that_ends_early_is_rejected_whatever_its_size() -> None:
    for side in (40, 600):
        row = inspect(ImageRow("a", "a"), encode(photograph(side, side))[:-300])
        assert (row.stage, row.reason, row.thumbnail) == ("check", "undecodable", b"")


def test_a_row_with_an_outcome_stays_as_it_is() -> None:
    gone = ImageRow("a", "a").rejected("read", "unreadable", "no")
    assert inspect(gone, b"anything") == gone


def test_a_file_replaced_between_two_readings_is_rejected_as_changed(tmp_path: Path) -> None:
    data = encode(photograph(60, 40))
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    row = ImageRow(str(path), "a.jpg", sha256=hashlib.sha256(data).hexdigest())
    assert inspect_again(row) == inspect(row, data)
    path.write_bytes(data + b"more")
    assert inspect_again(row).reason == "changed"
    path.unlink()
    assert inspect_again(row).reason == "unreadable"
