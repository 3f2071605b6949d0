"""A contact sheet as one picture: images pixel for pixel, each beside its copies, with text below.

First `arrange` finds the place of everything from sizes alone, then `draw` puts it there.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# What the images stand side by side on, unless one of them is wider.
_WIDTH = 1600
_MARGIN = 28
# Between pictures of one image; between images; between lines of them.
_GAP = 6
_BLOCK_GAP = 28
_ROW_GAP = 22
_CAPTION = 17
_LINE = 18
_HEADING = 40
_TITLE = 46
# Room for an id below a small picture.
_TEXT_WIDTH = 240
_FACT_NAME = 110
_FRAME = 3

_PAGE = (246, 247, 248)
_INK = (29, 38, 48)
_MUTED = (90, 102, 115)
_ACCENT = (47, 127, 158)

# Beyond these, a picture takes long to make and viewers refuse it.
MAX_PIXELS = 64_000_000
MAX_SIDE = 30_000


class Shown(NamedTuple):
    """One image of a sheet. heading: what it stands under, together with those beside it that have the same.

    lines: text below it; copies: number of each picture, 0 for the original; facts: (name, value) below all that.
    """

    heading: str
    lines: tuple[str, ...]
    copies: tuple[int, ...]
    facts: tuple[tuple[str, str], ...] = ()


class Block(NamedTuple):
    """The place of one image: top left corners of its pictures, and of its text."""

    pictures: tuple[tuple[int, int], ...]
    text: tuple[int, int]
    width: int


class Layout(NamedTuple):
    """A sheet's size in pixels, a block for each image shown, the headings with their places."""

    width: int
    height: int
    blocks: tuple[Block, ...]
    headings: tuple[tuple[int, int, str], ...]

    def fits(self) -> bool:
        """Whether a picture can have this size."""
        return self.width * self.height <= MAX_PIXELS and max(self.width, self.height) <= MAX_SIDE


def drawable(text: str) -> str:
    """Text as the font can show it: what is not ASCII stands as a backslash and its number."""
    return "".join(
        character if " " <= character <= "~" else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def arrange(images: Sequence[Shown], size: int) -> Layout:
    """Where everything goes; pictures are squares of `size` pixels."""
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
    return Layout(right + 2 * _MARGIN, bottom + _MARGIN - _ROW_GAP, tuple(blocks), tuple(headings))


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fitted(text: str, size: int, width: int) -> str:
    """The text, its middle left out where it is too wide: ids differ at their ends."""
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
    title: str, images: Sequence[Shown], pictures: Sequence[Sequence[np.ndarray]], size: int, layout: Layout
) -> Image.Image:
    """The sheet. pictures: of each image, uint8 [size, size, 3] for each of its `copies`."""
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
