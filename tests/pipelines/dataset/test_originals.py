"""The original of an image is the same whether it is decoded for it alone or shares a decode."""

from __future__ import annotations

import pytest
from PIL import Image

from pipelines.dataset.originals import make_original, original_of, own_reduction, shard_order
from pipelines.dataset.record_spec import RecordSpec
from pipelines.imaging import images
from pipelines.imaging.encoding import encode
from pipelines.imaging.forms import ASPECTS, ENCODINGS
from tests.support.image_files import RAW_FILES, photograph
from tests.support.image_files import encode as encode_file

FILES = {**RAW_FILES, "between two reductions": encode_file(photograph(1300, 500))}
CLASSES = ("melanoma", "nevus")


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("size", [1, 64, images.SHARED_SIDE, 300])
def test_one_decode_serves_hash_and_record_of_any_size(size: int, aspect: str) -> None:
    spec = RecordSpec(CLASSES, size, aspect)
    for name, data in FILES.items():
        info = images.read_info(data)
        factor = images.reduction(info.width, info.height, images.SHARED_SIDE, "stretch")
        made = make_original(data, info, factor, images.decode_image(data, factor), spec)
        assert made == original_of(data, spec), name
        pixels = images.standardize(data, size, aspect)
        sums, squares = images.channel_sums(Image.fromarray(pixels))
        assert made == (encode(pixels, "jpeg"), (*sums, *squares)), name


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_original_has_the_encoding_of_its_record(encoding: str) -> None:
    data = FILES["png"]
    made = original_of(data, RecordSpec(CLASSES, 20, encoding=encoding))
    assert made.encoded == encode(images.standardize(data, 20, "crop"), encoding)


def test_a_damaged_file_is_refused_at_whatever_scale_it_is_decoded_again() -> None:
    whole = FILES["between two reductions"]
    info = images.read_info(whole)
    for size in (64, 300):
        with pytest.raises(images.BadImage, match="undecodable"):
            make_original(whole[:-400], info, 8, images.decode_image(whole, 8), RecordSpec(CLASSES, size))


def test_records_beyond_the_shared_decode_are_decoded_at_their_own_scale() -> None:
    info = images.ImageInfo("jpeg", 8000, 6000, orientation=1, scratch=0)
    specs = [RecordSpec(CLASSES, size) for size in (64, images.SHARED_SIDE, 1024, 4096)]
    assert [own_reduction(info, spec) for spec in specs] == [8, 8, 4, 1]


def test_images_are_dealt_out_by_seed_and_content() -> None:
    orders = [shard_order(seed, sha256) for seed in (0, 1) for sha256 in ("aa", "bb")]
    assert len(set(orders)) == 4
    assert all(0 <= order < 1 << 64 for order in orders)
    assert shard_order(0, "aa") == orders[0]
