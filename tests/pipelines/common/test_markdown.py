"""Markdown: text stays text, tables and code stay whole."""

from __future__ import annotations

import pytest

from pipelines.common.markdown import fenced, plain, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nevus", "nevus"),
        ("a|b*c_d", r"a\|b\*c\_d"),
        ("<b>[x](y)`z`", r"\<b\>\[x\]\(y\)\`z\`"),
        ("two\nlines\u202e", r"two\\nlines\\u202e"),
    ],
)
def test_text_stands_literally_in_its_line(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize(("text", "fence"), [("ls", "```"), ("a ```` b", "`````"), ("`", "```")])
def test_a_fence_is_longer_than_any_in_its_text(text: str, fence: str) -> None:
    assert fenced(text) == [f"{fence}sh", text, fence]


def test_integers_of_a_table_are_grouped_and_right_aligned() -> None:
    assert list(table(["class", "images"], [("nevus", 12345), ("scar", 7)])) == [
        "| class | images |",
        "| --- | ---: |",
        "| nevus | 12,345 |",
        "| scar | 7 |",
    ]
    assert list(table(["class"], [], right=[True])) == ["| class |", "| ---: |"]
