"""Static HTML reports: the templates of `pipelines/templates`, filled so that no text can become markup.

A page is one file: style and pictures are in it, it runs nothing and loads nothing.
"""

from __future__ import annotations

import base64
import re
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


class Section(NamedTuple):
    """A heading of a page; number: what stands beside it, None for nothing."""

    title: str
    number: int | None = None


def grouped(number: int) -> str:
    """12345 -> 12,345."""
    return f"{number:,}"


def plural(number: int, one: str, many: str = "") -> str:
    """The form of a noun or phrase that goes with a number; `many` is by default `one` with an s."""
    return one if number == 1 else many or one + "s"


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun: 1 file, 1,200 files."""
    return f"{grouped(number)} {plural(number, one, many)}"


def percent(part: float, whole: float) -> str:
    """Share of a whole as `12.3 %`; of nothing, 0."""
    return f"{100 * part / whole if whole else 0:.1f} %"


def data_uri(picture: bytes) -> str:
    """A JPEG or PNG as an address that holds the picture itself."""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


# Controls, and what moves, hides or reorders the text around it; joiners are left out, as scripts need them.
_UNSEEN = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def name(text: str) -> Markup:
    """A file name, label or id, of any characters, in an element of its own that says exactly this text.

    The style shows characters that cannot be seen by their number, each in a box that it has no effect beyond. Long
    paths break after a slash first.
    """
    shown = str(escape(text)).replace("/", "/<wbr>")
    shown = _UNSEEN.sub(
        lambda found: f'<span class="unseen" data-code="U+{ord(found[0]):04X}">{found[0]}</span>', shown
    )
    return Markup(f"<bdi>{shown}</bdi>")


class _Missing(StrictUndefined):
    """What a template needs and was not given: an UndefinedError in f-strings too."""

    def __format__(self, _: str) -> str:
        return str(self)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipelines"),
        autoescape=True,
        undefined=_Missing,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for function in (grouped, plural, counted, percent, data_uri, name):
        environment.filters[function.__name__] = function
    return environment


_ENVIRONMENT = _environment()


def render(template_name: str, **context: object) -> bytes:
    """The page that a template makes of `context`, as UTF-8. What the template needs and lacks is an UndefinedError."""
    page = _ENVIRONMENT.get_template(template_name).render(**context)
    # Parsers take a bare carriage return for a line feed and drop NUL; what UTF-8 cannot hold is shown by its number.
    return page.replace("\r", "&#13;").replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "backslashreplace")
