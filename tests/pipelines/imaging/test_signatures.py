"""Images are known by their first bytes, and formats that are not read by the same ones."""

from __future__ import annotations

import pytest

from pipelines.imaging import images
from pipelines.imaging.signatures import is_image_head


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"])
def test_every_brand_of_heic_is_an_image_and_is_named_as_heic(brand: bytes) -> None:
    data = b"\0\0\0\x18ftyp" + brand + bytes(200)
    assert is_image_head(data)
    with pytest.raises(images.BadImage, match="HEIC"):
        images.read_info(data)
