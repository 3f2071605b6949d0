"""What a file and its folders say of an image, why an image is rejected, and what is kept of its pixels."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from pipelines.curation.check import CheckImages, examine, listed_row, with_content
from pipelines.dataset.image_row import ImageRow, Stored
from pipelines.dataset.known_images import CACHE_FILES, cache_bytes, cached_image
from pipelines.dataset.originals import original_of
from pipelines.dataset.record_spec import RecordSpec
from pipelines.domain.taxonomy import built_in_set
from pipelines.imaging import perceptual
from pipelines.sources.list_images import (
    ListedFile,
    SourceFile,
)
from pipelines.sources.read_ahead import read_files
from pipelines.sources.source import Source
from pipelines.storage.errors import StorageError
from pipelines.storage.packs import SUFFIX, Piece, read_pieces
from tests.support.collecting import run
from tests.support.image_files import encode, photograph
from tests.support.image_trees import list_images, tree


def check(root: Path | str, file: SourceFile) -> ImageRow:
    inputs = {str(root): Source("here", str(root))}
    ((_, content),) = read_files([file])
    row = with_content(listed_row(file, str(root), inputs, built_in_set("isic9")), content)
    return row if isinstance(content, StorageError) else examine(row, content).row


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


def test_a_good_image_has_format_size_hash_and_thumbnail() -> None:
    row, thumbnail, original = examine(ImageRow("a", "a"), encode(photograph(150, 90)))
    assert (row.outcome, row.format, row.width, row.height) == ("", "jpeg", 150, 90)
    assert row.phash
    # No records are to be made.
    assert original is None
    # The same picture as PNG: other bytes, the same thumbnail but for what JPEG loses.
    other = examine(ImageRow("b", "b"), encode(photograph(150, 90), "PNG"))
    assert (other.row.format, len(other.thumbnail)) == ("png", len(thumbnail))
    assert perceptual.pixel_distance(thumbnail, other.thumbnail) < perceptual.SAME_PICTURE


def test_the_hash_and_the_thumbnail_do_not_depend_on_the_size_of_records() -> None:
    data = encode(photograph(1400, 1000))
    plain, small, large = (examine(ImageRow("a", "a"), data, spec) for spec in (None, spec_of(64), spec_of(500)))
    assert plain[:2] == small[:2] == large[:2]
    assert small.original == original_of(data, spec_of(64))
    assert large.original == original_of(data, spec_of(500))


def test_an_image_that_ends_early_is_rejected_whatever_its_size() -> None:
    for side in (40, 600):
        row, thumbnail, original = examine(ImageRow("a", "a"), encode(photograph(side, side))[:-300], spec_of(24))
        assert (row.stage, row.reason, thumbnail, original) == ("check", "undecodable", b"", None)


def test_a_row_with_an_outcome_stays_as_it_is() -> None:
    gone = ImageRow("a", "a").rejected("read", "unreadable", "no")
    assert examine(gone, b"anything", spec_of(24)) == (gone, b"", None)


def spec_of(size: int) -> RecordSpec:
    return RecordSpec(("melanoma", "nevus"), size)


@pytest.mark.parametrize("spec", [None, spec_of(24)])
def test_what_later_stages_need_lies_in_packs(tmp_path: Path, spec: RecordSpec | None) -> None:
    images = {f"nevus/{seed}.jpg": encode(photograph(60, 40, seed)) for seed in range(20)}
    for name, data in {**images, "nevus/bad.jpg": b"no image"}.items():
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    root, packs = str(tmp_path / "set"), tmp_path / "packs"
    listed = [ListedFile(root, file) for file in list_images(root)]
    check_images = CheckImages([Source("set", root)], built_in_set("isic9"), False, 2, str(packs), spec)
    rows = {row.relative: row for row in run([listed[:3], listed[3:]], check_images)}
    assert {name for name, row in rows.items() if row.outcome} == {"nevus/bad.jpg"}
    assert rows.keys() == images.keys() | {"nevus/bad.jpg"}
    for name, data in images.items():
        row, thumbnail, original = examine(ImageRow("a", "a"), data, spec)
        found = rows[name]
        assert (found.phash, found.sketch, found.width, found.height) == (
            row.phash,
            perceptual.sketch(thumbnail),
            60,
            40,
        )
        assert found.thumbnail
        pieces = [found.thumbnail.piece]
        if original:
            assert found.stored
            assert (found.stored.file, found.stored.sums) == (found.thumbnail.pack, original.sums)
            pieces += found.stored.pieces
        else:
            assert found.stored is None
        content = read_pieces(str(packs / found.thumbnail.pack), pieces)
        assert [content[piece] for piece in pieces] == [thumbnail, *([original.encoded] if original else [])]
    assert {path.suffix for path in packs.iterdir()} == {SUFFIX}


def test_a_known_photograph_that_now_has_the_name_of_a_mask_is_judged_again(tmp_path: Path) -> None:
    """Else an update would write what a run over the same files rejects."""
    data = encode(photograph(60, 40))
    names = ["nevus/a.jpg", "nevus/a_mask.jpg", "masks/a.jpg"]
    for name in names:
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(data)
    root, packs = str(tmp_path / "set"), tmp_path / "packs"
    listed = [ListedFile(root, file) for file in list_images(root)]
    sources, classes = [Source("set", root)], built_in_set("isic9")
    fresh = {row.relative: row for row in run([listed], CheckImages(sources, classes, False, 1, str(packs)))}
    known = fresh["nevus/a.jpg"]._replace(stored=Stored("train-0", (Piece(0, 1, 0),), (0,) * 6))
    thumbnail = examine(ImageRow("a", "a"), data).thumbnail
    (tmp_path / CACHE_FILES.format(index=0, count=1)).write_bytes(cache_bytes([cached_image(known, thumbnail)]))
    update = CheckImages(sources, classes, False, 1, str(packs), cache=str(tmp_path))
    updated = {row.relative: row for row in run([listed], update)}
    assert updated["nevus/a.jpg"].stored == known.stored
    for name in names:
        assert updated[name].outcome == fresh[name].outcome, name
    assert {name: row.reason for name, row in updated.items() if row.outcome} == {"nevus/a_mask.jpg": "mask"}
