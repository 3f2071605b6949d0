"""Filters and rendering of pages."""

from __future__ import annotations

import base64

import pytest
from jinja2 import UndefinedError

from pipelines.common.html import counted, data_uri, grouped, name, percent, plural, render


def test_numbers_come_grouped_and_with_their_noun() -> None:
    assert grouped(1234567) == "1,234,567"
    assert (plural(1, "file"), plural(0, "file"), plural(2, "class", "classes")) == ("file", "files", "classes")
    assert (counted(1, "image"), counted(1200, "image")) == ("1 image", "1,200 images")


def test_a_share_of_nothing_is_zero() -> None:
    assert (percent(1, 8), percent(0, 0)) == ("12.5 %", "0.0 %")


@pytest.mark.parametrize(("start", "kind"), [(b"\x89PNG\r\n", "png"), (b"\xff\xd8\xff", "jpeg")])
def test_a_picture_is_inside_its_address(start: bytes, kind: str) -> None:
    head, _, content = data_uri(start + b"rest").partition(",")
    assert head == f"data:image/{kind};base64"
    assert base64.b64decode(content) == start + b"rest"


def test_a_name_is_no_markup_and_shows_what_cannot_be_seen() -> None:
    assert name("a/<b>") == "<bdi>a/<wbr>&lt;b&gt;</bdi>"
    assert name("x\u202e") == '<bdi>x<span class="unseen" data-code="U+202E">\u202e</span></bdi>'


def test_a_page_that_lacks_a_variable_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("show.html.j2", title="x", sections={})
