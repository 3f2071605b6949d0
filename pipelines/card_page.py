"""Make the HTML page of a dataset card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.card_report import TITLE, Report
from pipelines.html import Section, render

# Class -> its images, each as (image id, small JPEGs), the original first.
Pictures = Mapping[str, Sequence[tuple[str, Sequence[bytes]]]]


def _sections(report: Report) -> dict[str, Section]:
    """Return the headings in the order of the page, by the name that links use."""
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
    """Return the HTML page of a dataset card.

    Args:
        report: The result of `card_report.describe_card`.
        pictures: The pictures to show, by class.
    """
    return render("dataset.html.j2", title=TITLE, report=report, pictures=pictures, sections=_sections(report))
