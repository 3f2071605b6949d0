"""HTML pages in headless Chrome or Chromium: what it makes of them, how they look; and HTML as a tree."""

from __future__ import annotations

import fcntl
import json
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


def _command(profile: str, width: int, height: int, *arguments: str) -> list[str]:
    return [
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
    ]


def _open(page: Path, width: int, height: int, *arguments: str) -> bytes:
    # A profile of its own: two browsers of one profile would wait for each other.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        return subprocess.run(
            [*_command(profile, width, height, *arguments), page.resolve().as_uri()],
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


class Visit:
    """A page in a browser, used as people do: clicks, keys, downloads. Speaks the DevTools protocol through pipes."""

    def __init__(self, page: Path, downloads: Path):
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._downloads = downloads
        self._number = 0
        self._session = ""
        self._events: list[dict[str, Any]] = []
        # The browser reads from 3 and writes to 4; numbers far from these cannot be overwritten by them.
        ours, theirs = os.pipe(), os.pipe()
        reads, writes = (fcntl.fcntl(end, fcntl.F_DUPFD, 32) for end in (ours[0], theirs[1]))

        def as_expected() -> None:
            os.dup2(reads, 3)
            os.dup2(writes, 4)

        self._browser = subprocess.Popen(
            _command(self._profile.name, 1200, 900, "--remote-debugging-pipe"),
            preexec_fn=as_expected,
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (ours[0], theirs[1], reads, writes):
            os.close(end)
        self._to, self._from = os.fdopen(ours[1], "wb", buffering=0), os.fdopen(theirs[0], "rb")
        self._send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads), eventsEnabled=True)
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._send("Page.enable")
        self._send("Page.navigate", url=page.resolve().as_uri())
        self._wait_for("Page.loadEventFired")

    def _message(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self._from.read(1)) not in (b"\0", b""):
            text += byte
        assert text, "the browser is gone"
        return json.loads(text)

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        request = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            request["sessionId"] = self._session
        self._to.write(json.dumps(request).encode() + b"\0")
        while (answer := self._message()).get("id") != self._number:
            self._events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _wait_for(self, method: str, **values: Any) -> None:
        """Wait for an event, also one that has come already."""
        while True:
            for event in self._events:
                if event.get("method") == method and values.items() <= event["params"].items():
                    self._events.remove(event)
                    return
            self._events.append(self._message())

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self._send("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def click(self, selector: str) -> None:
        """Click on the middle of the first element that a CSS selector finds."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{found}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        middle = "({left, top, width, height}) => [left + width / 2, top + height / 2]"
        place = self.run(f"({middle})({found}.getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self._send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def press(self, *keys: str) -> None:
        """Press keys, one after the other: letters, or names such as Enter."""
        for key in keys:
            text = {"text": key} if len(key) == 1 else {}
            self._send("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
            self._send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def downloaded(self, name: str) -> Path:
        """The file that the page has offered for download, once it is there."""
        self._wait_for("Browser.downloadProgress", state="completed")
        return self._downloads / name

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.kill()
        self._browser.wait()
        self._to.close()
        self._from.close()
        self._profile.cleanup()


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
