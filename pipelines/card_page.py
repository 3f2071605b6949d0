"""The dataset card as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.card_report import TITLE, Report
from pipelines.html import Section, render

# Of each class, images: their id and small JPEGs, the original first.
Pictures = Mapping[str, Sequence[tuple[str, Sequence[bytes]]]]


def _sections(report: Report) -> dict[str, Section]:
    """Headings in the page's order, by the name that links use."""
    counts = report["counts"]
    return {
        "files": Section("Files", counts["listed"]),
        "balance": Section("Training examples per class", report["total"]["examples"]),
        "pictures": Section("What is in it"),
        "splits": Section("Splits", counts["written"]),
        "sources": Section("Sources", len(report["sources"])),
        "licenses": Section("Licences", len(report["licenses"])),
        "dropped": Section("Files left out", counts["listed"] - counts["written"]),
        "origin": Section("How it was made"),
    }


def card_page(report: Report, pictures: Pictures) -> bytes:
    """The page for what `card_report.describe_card` gives."""
    return render("dataset.html.j2", title=TITLE, report=report, pictures=pictures, sections=_sections(report))
