"""Where pictures and their texts lie on a sheet."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipelines.show.contact_sheet import Shown, arrange, draw


@pytest.mark.parametrize("size", [8, 300, 2000])
@pytest.mark.parametrize("facts", [(), (("file", "p"),)])
def test_nothing_on_a_sheet_overlaps_or_lies_outside(size: int, facts: tuple[tuple[str, str], ...]) -> None:
    names = ("a", "漢字\n\ud800", "x" * 400, "")
    images = [
        Shown(heading, (name, "nevus"), tuple(range(copies)), facts)
        for heading, name, copies in itertools.product(("nevus", "melanoma"), names, (0, 1, 7))
    ]
    layout = arrange(images, size)
    seen = np.zeros((layout.height, layout.width), bool)
    for block in layout.blocks:
        for x, y in block.pictures:
            area = seen[y : y + size, x : x + size]
            assert area.shape == (size, size)
            assert not area.any()
            area[:] = True
        x, y = block.text
        assert x + block.width <= layout.width
        assert not seen[y : y + 36, x : x + block.width].any()
    if size < 300:
        black = np.zeros((size, size, 3), np.uint8)
        sheet = draw("漢", images, [[black] * len(shown.copies) for shown in images], size, layout)
        assert sheet.size == (layout.width, layout.height)
