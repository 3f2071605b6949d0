"""The table of published sets."""

from __future__ import annotations

from pathlib import Path

from pipelines.domain.layout_registry import LAYOUTS
from pipelines.sources.layout_guide import markdown

PAGE = Path(__file__).resolve().parents[3] / "docs" / "sources.md"


def test_the_page_on_sources_has_the_table_that_the_layouts_declare() -> None:
    assert markdown() in PAGE.read_text(encoding="utf-8")


def test_the_command_of_each_published_set_names_its_layout_and_one_place() -> None:
    for name, layout in LAYOUTS.items():
        if layout.origin:
            assert f"--input {name}=" in layout.origin.command
            assert "|" not in "".join(layout.origin)
