"""Draw a contact sheet: the stored pixels of images, each beside its copies, with text below.

`arrange` computes the layout from sizes alone; `draw` then draws it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# All lengths are in pixels.
# Width of the area for images; a single picture may be wider.
_WIDTH = 1600
_MARGIN = 28
# Gaps between pictures of one image, between images, and between rows of images.
_GAP = 6
_BLOCK_GAP = 28
_ROW_GAP = 22
_CAPTION = 17
_LINE = 18
_HEADING = 40
_TITLE = 46
# Least width of an image's block, so that an id fits below a small picture.
_TEXT_WIDTH = 240
_FACT_NAME = 110
_FRAME = 3


_PAGE = (246, 247, 248)
_INK = (29, 38, 48)
_MUTED = (90, 102, 115)
_ACCENT = (47, 127, 158)


# Larger pictures take long to draw, and viewers refuse them.
MAX_PIXELS = 64_000_000
MAX_SIDE = 30_000


class Shown(NamedTuple):
    """The texts of one image of a sheet, and which of its copies are shown."""

    heading: str  # neighbouring images with the same heading share it
    lines: tuple[str, ...]  # text below the pictures
    copies: tuple[int, ...]  # copy number of each picture; 0 for the original
    facts: tuple[tuple[str, str], ...] = ()  # (name, value), below the lines


class Block(NamedTuple):
    """The position of one image on the sheet, in pixels."""

    pictures: tuple[tuple[int, int], ...]  # top left corner (x, y) of each picture
    text: tuple[int, int]  # top left corner (x, y) of the text
    width: int


class SheetLayout(NamedTuple):
    """The layout of a sheet, in pixels."""

    width: int
    height: int
    blocks: tuple[Block, ...]  # one for each image
    headings: tuple[tuple[int, int, str], ...]  # (x, y, text)

    def fits(self) -> bool:
        """Return whether the sheet is within MAX_PIXELS and MAX_SIDE."""
        return self.width * self.height <= MAX_PIXELS and max(self.width, self.height) <= MAX_SIDE


def drawable(text: str) -> str:
    """Return text that the font can draw: characters other than printable ASCII become backslash escapes."""
    return "".join(
        character if " " <= character <= "~" else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def arrange(images: Sequence[Shown], size: int) -> SheetLayout:
    """Lay out a sheet.

    Args:
        images: The images, in order.
        size: Side of every picture, in pixels.
    """
    inner = max(_WIDTH, size)
    step = size + _GAP
    per_row = max(1, (inner + _GAP) // step)
    blocks: list[Block] = []
    headings: list[tuple[int, int, str]] = []
    x, y, bottom, right = 0, _MARGIN + _TITLE, _MARGIN + _TITLE, 0
    heading = ""
    for shown in images:
        across = min(max(1, len(shown.copies)), per_row)
        down = -(-len(shown.copies) // per_row)
        width = max(across * step - _GAP, inner if shown.facts else _TEXT_WIDTH)
        if shown.heading != heading:
            heading = shown.heading
            headings.append((_MARGIN, bottom, heading))
            x, y = 0, bottom + _HEADING
        elif x + width > inner or (x and shown.facts):
            x, y = 0, bottom
        pictures = tuple(
            (_MARGIN + x + place % per_row * step, y + place // per_row * (step + _CAPTION))
            for place in range(len(shown.copies))
        )
        text = y + down * (step + _CAPTION)
        blocks.append(Block(pictures, (_MARGIN + x, text), width))
        bottom = max(bottom, text + _LINE * (len(shown.lines) + len(shown.facts)) + _ROW_GAP)
        right = max(right, x + width)
        x += width + _BLOCK_GAP
    return SheetLayout(right + 2 * _MARGIN, bottom + _MARGIN - _ROW_GAP, tuple(blocks), tuple(headings))


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fitted(text: str, size: int, width: int) -> str:
    """Return the text, shortened in the middle if it is too wide, because ids differ at their ends."""
    text, font = drawable(text), _font(size)
    kept = len(text)
    shown = text
    while kept > 2 and font.getlength(shown) > width:
        kept -= 1
        shown = f"{text[: kept // 2]}...{text[len(text) - (kept - kept // 2) :]}"
    return shown


def _caption(copy: int, width: int) -> str:
    words = f"copy {copy}" if copy else "original"
    return words if _font(12).getlength(words) <= width else str(copy)


def draw(
    title: str, images: Sequence[Shown], pictures: Sequence[Sequence[np.ndarray]], size: int, layout: SheetLayout
) -> Image.Image:
    """Draw a sheet.

    Args:
        title: The text at the top.
        images: The images, in order.
        pictures: For each image, one uint8 array [size, size, 3] for each of its `copies`.
        size: Side of every picture, in pixels.
        layout: The result of `arrange` for these images and this size.

    Returns:
        An RGB image of the size of the layout.
    """
    sheet = Image.new("RGB", (layout.width, layout.height), _PAGE)
    pen = ImageDraw.Draw(sheet)

    def write(place: tuple[int, int], text: str, height: int, colour: tuple[int, int, int], width: int) -> None:
        pen.text(place, _fitted(text, height, width), fill=colour, font=_font(height))

    write((_MARGIN, _MARGIN - 4), title, 22, _INK, layout.width - 2 * _MARGIN)
    for x, y, heading in layout.headings:
        write((x, y + 6), heading, 18, _INK, layout.width - 2 * _MARGIN)
    for shown, block, shots in zip(images, layout.blocks, pictures, strict=True):
        for (x, y), copy, pixels in zip(block.pictures, shown.copies, shots, strict=True):
            if copy == 0:
                pen.rectangle((x - _FRAME, y - _FRAME, x + size + _FRAME - 1, y + size + _FRAME - 1), fill=_ACCENT)
            sheet.paste(Image.fromarray(pixels), (x, y))
            write((x, y + size + _FRAME), _caption(copy, size), 12, _MUTED, size)
        x, y = block.text
        for number, line in enumerate(shown.lines):
            write((x, y), line, 13 if number else 14, _MUTED if number else _INK, block.width)
            y += _LINE
        for name, value in shown.facts:
            write((x, y), name, 14, _MUTED, _FACT_NAME - 8)
            write((x + _FACT_NAME, y), value, 14, _INK, block.width - _FACT_NAME)
            y += _LINE
    return sheet
