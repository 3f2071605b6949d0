"""HTML pages in headless Chrome or Chromium: what it makes of them, how they look; and HTML as a tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Elements without an end tag.
VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "wbr"})


def _chrome() -> str:
    """The browser's path. Its absence fails under CI and skips elsewhere."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    message = f"no browser on PATH ({', '.join(NAMES)})"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def _open(page: Path, width: int, height: int, *arguments: str) -> bytes:
    # A profile of its own: two browsers of one profile would wait for each other.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        return subprocess.run(
            [
                _chrome(),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                f"--user-data-dir={profile}",
                f"--window-size={width},{height}",
                *arguments,
                page.resolve().as_uri(),
            ],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=120,
        ).stdout


def dump_dom(page: Path) -> str:
    """The document that the browser has built from a page, as HTML."""
    return _open(page, 1200, 900, "--dump-dom").decode()


def screenshot(page: Path, png: Path, width: int, height: int) -> None:
    """Write a picture of the page's first `height` pixels."""
    _open(page, width, height, f"--screenshot={png.resolve()}")


@dataclass
class Element:
    """An element with its elements and texts in order. Iterating gives all elements in it."""

    tag: str
    attributes: dict[str, Any]  # texts; None of one without a value
    content: list[Element | str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Element]:
        for item in self.content:
            if isinstance(item, Element):
                yield item
                yield from item

    def find(self, tag: str) -> list[Element]:
        """The elements of that tag, in order."""
        return [element for element in self if element.tag == tag]

    def text(self) -> str:
        """All text in it."""
        return "".join(item if isinstance(item, str) else item.text() for item in self.content)


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        assert len(element.attributes) == len(attrs), f"an attribute twice: {attrs}"
        self.open[-1].content.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag, f"</{tag}> out of place at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        self.open[-1].content.append(data)


def parse(html: str) -> Element:
    """The document. Unlike a browser this forgives nothing: a tag out of its place is an AssertionError."""
    parser = _Parser()
    parser.feed(html)
    parser.close()
    assert len(parser.open) == 1, f"not closed: {parser.open[-1].tag}"
    return parser.open[0]
