"""Records of an image: the original and its copies."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
from PIL import Image

from pipelines.dataset.example_proto import parse_example
from pipelines.dataset.image_row import ImageRow, Stored
from pipelines.dataset.record_spec import RecordSpec
from pipelines.imaging import images
from pipelines.imaging.augment import augment
from pipelines.imaging.encoding import decode as decode_pixels
from pipelines.imaging.encoding import encode as encode_pixels
from pipelines.imaging.forms import ENCODINGS
from pipelines.imaging.images import BadImage
from pipelines.prepare.examples import Record, image_example, make_records
from pipelines.storage.errors import StorageError
from tests.support.image_files import encode, photograph

SPEC = RecordSpec(("melanoma", "nevus"), 24, seed=3)


@pytest.fixture
def row(tmp_path: Path) -> ImageRow:
    """An image that is written three times."""
    data = encode(photograph(60, 40))
    (tmp_path / "a.jpg").write_bytes(data)
    return ImageRow(
        path=str(tmp_path / "a.jpg"),
        relative="a.jpg",
        image_id="a",
        sha256=hashlib.sha256(data).hexdigest(),
        label="nevus",
        lesion_ids=("L1", "L2"),
        group_id="g",
        split="train",
        fold=1,
        copies=3,
    )


def encoded(record: Record) -> bytes:
    return parse_example(record.example)["image/encoded"].bytes_list.value[0]


def test_an_example_says_what_its_row_says(row: ImageRow) -> None:
    features = parse_example(image_example(row, b"content", 2, SPEC))
    values = {key: getattr(one, one.WhichOneof("kind")).value[0] for key, one in features.items()}
    assert values == {
        "image/encoded": b"content",
        "image/format": b"jpeg",
        "image/height": 24,
        "image/width": 24,
        "image/key/sha256": row.sha256.encode(),
        "image/source_id": b"a",
        "image/class/label": 1,
        "image/class/text": b"nevus",
        "image/lesion_id": b"L1",
        "image/group_id": b"g",
        "image/fold": 1,
        "image/augmentation/copy": 2,
    }


def test_the_first_record_is_the_original_and_the_others_are_augmented(row: ImageRow) -> None:
    made = make_records(row, SPEC)
    pixels = images.standardize(encode(photograph(60, 40)), 24, "crop")
    assert [record.copy for record in made.records] == [0, 1, 2]
    assert encoded(made.records[0]) == images.encode_jpeg(pixels)
    assert len({encoded(record) for record in made.records}) == 3
    sums, squares = images.channel_sums(Image.fromarray(pixels))
    assert made.sums == (*sums, *squares)


def test_the_same_spec_gives_the_same_records_and_another_seed_other_copies(row: ImageRow) -> None:
    first = make_records(row, SPEC)
    assert make_records(row, SPEC) == first
    other = make_records(row, dataclasses.replace(SPEC, seed=4))
    same = [encoded(one) == encoded(two) for one, two in zip(first.records, other.records, strict=True)]
    assert same == [True, False, False]


def test_stored_images_are_used_without_reading_the_file(row: ImageRow) -> None:
    first = make_records(row, SPEC)
    stored = [encoded(record) for record in first.records]
    gone = row._replace(path="gone.jpg", stored=Stored("shard", (), first.sums))
    # Copies that are missing are made of the original.
    for known in (1, 2, 3):
        assert make_records(gone, SPEC, stored[:known]) == first
    # The first copies are enough for an image that is written less often.
    once = make_records(gone._replace(copies=1), SPEC, stored)
    assert once == first._replace(records=first.records[:1])
    # Without the original, the image is made from the file.
    assert make_records(row._replace(stored=gone.stored), SPEC) == first
    with pytest.raises(StorageError, match="FileNotFoundError: No such file"):
        make_records(gone, SPEC)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_copies_are_made_of_the_encoded_original(row: ImageRow, encoding: str) -> None:
    spec = dataclasses.replace(SPEC, encoding=encoding)
    original, *copies = (encoded(record) for record in make_records(row, spec).records)
    pixels = decode_pixels(original, encoding, 24, 24)
    assert copies == [encode_pixels(augment(pixels, spec.seed, row.sha256, copy), encoding) for copy in (1, 2)]


def test_a_file_that_changed_since_it_was_checked_is_refused(row: ImageRow) -> None:
    with open(row.path, "ab") as file:
        file.write(b"more")
    with pytest.raises(BadImage) as refused:
        make_records(row, SPEC)
    assert refused.value.reason == "changed"
