"""Which size of image an epoch trains on."""

from __future__ import annotations

import pytest

from pipelines.common.cli import UsageError
from trainer.data.progressive_resizing import check_sizes, parse_progressive, size_of_epoch


def test_sizes_last_as_long_as_their_shares_say() -> None:
    sizes = [size_of_epoch("32:0.5,48:0.8", epoch, 10, 64) for epoch in range(10)]
    assert sizes == [32] * 5 + [48] * 3 + [64] * 2
    assert [size_of_epoch("", epoch, 3, 64) for epoch in range(3)] == [64] * 3


def test_fractions_are_of_the_datasets_size() -> None:
    text = "1/4:0.3,3/8:0.45,1/2:0.6,3/4:0.8"
    for image_size, expected in {256: [64, 96, 128, 192], 180: [48, 64, 88, 136], 32: [16, 16, 16, 24]}.items():
        check_sizes(text, image_size)
        sizes = [size_of_epoch(text, epoch, 20, image_size) for epoch in (5, 8, 11, 15, 19)]
        assert sizes == [*expected, image_size]


def test_the_last_epoch_has_the_full_size() -> None:
    assert [size_of_epoch("32:0.9", epoch, 4, 64) for epoch in range(4)] == [32] * 3 + [64]
    assert size_of_epoch("32:0.9", 0, 1, 64) == 64


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("64", "'64' is not SIZE:SHARE"),
        ("big:0.5", "'big:0.5' is not SIZE:SHARE"),
        ("64:half", "'half' is not a number"),
        ("64:1", "64:1 does not"),
        ("64:nan", "64:nan does not"),
        ("64:0.5,48:0.6", "48:0.6 does not"),
        ("64:0.5,96:0.4", "96:0.4 does not"),
        ("1/2:0.5,3/8:0.6", "3/8:0.6 does not"),
        ("5/4:0.5", "5/4:0.5 does not"),
        ("1/0:0.5", "'1/0' is not a fraction"),
        ("1/2/3:0.5", "'1/2/3:0.5' is not SIZE:SHARE"),
        ("64:0.5,3/4:0.6", "all sizes in pixels, or all as fractions"),
        ("8:0.5", "8:0.5 does not"),
    ],
)
def test_sizes_that_cannot_be_are_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_progressive(text)


def test_no_size_is_as_large_as_the_datasets() -> None:
    check_sizes("32:0.5,48:0.8", 64)
    with pytest.raises(UsageError, match=r"--progressive 32:0\.5,64:0\.8: the dataset's images have 64 px"):
        check_sizes("32:0.5,64:0.8", 64)
