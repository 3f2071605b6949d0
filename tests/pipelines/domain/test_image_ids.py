"""The id of an image from the name of its file."""

from __future__ import annotations

import pytest

from pipelines.domain import image_ids


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ISIC_0025509(1).jpg", "ISIC_0025509"),
        ("x/isic_0025509.JPG", "ISIC_0025509"),
        ("ISIC_0012345_downsampled.jpg", "ISIC_0012345"),
        ("ISIC_00123456.jpg", "ISIC_00123456"),
        ("photo (2).png", "photo (2)"),
        ("photo(2)_downsampled.png", "photo(2)"),
        ("nai\u0308ve.png", "na\u00efve"),
        ("my.photo.png", "my.photo"),
        # Without its zeros it is no id of the archive: guessing would give labels to other images.
        ("ISIC_25509.jpg", "ISIC_25509"),
        ("25509", "25509"),
    ],
)
def test_an_id_is_isic_s_or_else_the_stem_of_the_name(name: str, expected: str) -> None:
    assert image_ids.image_id_of(name) == expected
