"""Render static HTML reports from `pipelines/common/templates`, with escaping so that no text can become markup.

A page is a single file: style and pictures are embedded. It loads nothing, and runs no script but one of its own, whose
hash its policy names.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


class Section(NamedTuple):
    """A section heading of a page."""

    title: str
    number: int | None = None  # count shown beside the title; None: no count


def grouped(number: int) -> str:
    """Return a number with grouped digits: 12345 -> 12,345."""
    return f"{number:,}"


def plural(number: int, one: str, many: str = "") -> str:
    """Return the singular or plural form for a number.

    Args:
        number: The number.
        one: The singular noun or phrase.
        many: The plural; empty stands for `one` with an s.
    """
    return one if number == 1 else many or one + "s"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: 1 file, 1,200 files."""
    return f"{grouped(number)} {plural(number, one, many)}"


def percent(part: float, whole: float) -> str:
    """Return a share as `12.3 %`; 0 if the whole is 0."""
    return f"{100 * part / whole if whole else 0:.1f} %"


def data_uri(picture: bytes) -> str:
    """Return a JPEG or PNG as a data URI."""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


# Control characters, and those that move, hide or reorder the text around them. Joiners are not included, because
# some writing systems need them.
_UNSEEN = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def name(text: str) -> Markup:
    """Return a file name, label or id of any characters as an element that shows exactly this text.

    The style shows each invisible character as its code point, in a box that isolates its effect. Long paths break
    after a slash first.
    """
    shown = str(escape(text)).replace("/", "/<wbr>")
    shown = _UNSEEN.sub(
        lambda found: f'<span class="unseen" data-code="U+{ord(found[0]):04X}">{found[0]}</span>', shown
    )
    return Markup(f"<bdi>{shown}</bdi>")


def script_source(script: str) -> str:
    """Return what a content security policy calls a script within the page by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}'"


class _Missing(StrictUndefined):
    """An undefined template variable that raises UndefinedError in format strings too."""

    def __format__(self, _: str) -> str:
        return str(self)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipelines.common"),
        autoescape=True,
        undefined=_Missing,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for function in (grouped, plural, counted, percent, data_uri, name, script_source):
        environment.filters[function.__name__] = function
    return environment


_ENVIRONMENT = _environment()


def render(template_name: str, **context: object) -> bytes:
    """Render a template as UTF-8.

    Args:
        template_name: File name of the template.
        **context: Variables of the template.

    Raises:
        UndefinedError: The template uses a variable that `context` lacks.
    """
    page = _ENVIRONMENT.get_template(template_name).render(**context)
    # HTML parsers turn a bare carriage return into a line feed and drop NUL. What UTF-8 cannot encode is escaped.
    return page.replace("\r", "&#13;").replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "backslashreplace")
