"""Paths as text for display."""

from __future__ import annotations

import pytest

from pipelines.common.text import printable, visible


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("plain/ISIC_1.jpg", "plain/ISIC_1.jpg"),
        ("na\u00efve/\u76ae.jpg", "na\u00efve/\u76ae.jpg"),
        ("bytes \udcff\udc80.jpg", r"bytes \xff\x80.jpg"),
        ("nul\0.jpg", r"nul\x00.jpg"),
    ],
)
def test_what_is_no_text_in_a_path_is_shown_by_its_bytes(path: str, shown: str) -> None:
    assert printable(path) == shown
    assert printable(path).encode().decode() == shown


def test_what_cannot_be_printed_is_shown_escaped() -> None:
    assert visible("a\u202eb\n\ud800\u76ae") == "a\\u202eb\\n\\ud800\u76ae"
