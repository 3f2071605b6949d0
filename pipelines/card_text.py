"""The dataset card as Markdown: the facts of the page, without its pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from pipelines.card_report import TITLE, Report
from pipelines.html import counted, grouped, percent, plural

# What Markdown or the HTML within it would take for more than text.
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>&~$^=:@-])")


def plain(text: str) -> str:
    """Text that says just itself in a line of Markdown; what cannot be seen stands as a backslash and its number."""
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )
    return _SPECIAL.sub(r"\\\1", shown)


def _fenced(text: str) -> list[str]:
    """Text as a block of code."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}sh", text, fence]


def _table(names: Sequence[str], rows: Iterable[Sequence[str | int]]) -> Iterator[str]:
    """Texts to the left, numbers to the right. Texts are taken as they are."""
    body = list(rows)
    right = [bool(body) and isinstance(body[0][column], int) for column in range(len(names))]
    yield f"| {' | '.join(names)} |"
    yield f"| {' | '.join('---:' if number else '---' for number in right)} |"
    for row in body:
        yield f"| {' | '.join(grouped(cell) if isinstance(cell, int) else cell for cell in row)} |"


def _per_image(least: int, most: int) -> str:
    return grouped(least) if least == most else f"{grouped(least)} to {grouped(most)}"


def _numbers(report: Report) -> Iterator[str]:
    counts, total, split_names = report["counts"], report["total"], report["split_names"]
    sums = " + ".join(
        f"{grouped(counts[name])} {name}" for name in ("written", "duplicates", "rejected", "undersampled")
    )
    yield "## Files"
    yield ""
    yield f"{grouped(counts['listed'])} listed = {sums}."
    yield f"{grouped(counts['with_lesion_id'])} of the images written have a lesion id."
    yield f"{counted(counts['ignored'], 'other file lies', 'other files lie')} beside the images."
    yield ""
    yield "## Training examples per class"
    yield ""
    yield f"Balance: {report['balance']}" + (f" to {report['target']}." if report["balance"] != "none" else ".")
    yield ""
    columns = ("before", "left_out", "images", "added", "examples")
    rows = [
        [
            plain(row["class"]) + (" (malignant)" if row["malignant"] else ""),
            *(row[column] for column in columns),
            _per_image(row["least"], row["most"]),
        ]
        for row in report["classes"]
    ]
    yield from _table(
        ("Class", "Images before", "Left out", "Written", "Copies added", "Examples after", "Examples per image"),
        [*rows, ["**train**", *(total[column] for column in columns), ""]],
    )
    yield ""
    yield "## Splits"
    yield ""
    yield from _table(
        ("Split", "Images", "Share", "Examples", "Shards", "Bytes"),
        [
            [
                split["name"],
                split["images"],
                percent(split["images"], counts["written"]),
                split["examples"],
                split["shards"],
                split["bytes"],
            ]
            for split in report["splits"]
        ],
    )
    yield ""
    yield from _table(
        ("Images of each class", *split_names, "All"),
        [
            [plain(row["class"]), *(row["splits"][split] for split in split_names), row["written"]]
            for row in report["classes"]
        ],
    )
    yield ""


def _origin(report: Report) -> Iterator[str]:
    near = report["near_duplicates"]
    columns = ("listed", "written", "duplicates", "rejected", "undersampled")
    yield "## Sources"
    yield ""
    yield from _table(
        ("Source", *(column.capitalize() for column in columns)),
        [[plain(source["name"]), *(source[column] for column in columns)] for source in report["sources"]],
    )
    yield ""
    yield "## Licences of the images written" + (", the most frequent" if report["licenses_cut"] else "")
    yield ""
    yield from _table(("Licence", "Images"), [[plain(row["license"]), row["files"]] for row in report["licenses"]])
    yield ""
    yield "## Files left out"
    yield ""
    yield from _table(("Reason", "Files"), [[plain(reason), files] for reason, files in report["dropped"]])
    yield ""
    conflicts = counted(report["conflicts"], "file was", "files were")
    yield f"{conflicts} rejected because sources disagree on the class."
    pairs = counted(near["pairs"], "pair")
    yield f"{pairs} of different images {plural(near['pairs'], 'shows', 'show')} the same picture, each in one split."
    if near["skipped"]:
        yield f"{counted(near['skipped'], 'comparison was', 'comparisons were')} left out: there may be more pairs."
    yield ""
    yield "## How it was made"
    yield ""
    yield "This gives the same dataset again, in a folder `COPY`, where the paths lead to the same images and the"
    yield "versions below are installed. Runner, workers, threads and place change no byte and are left out."
    if report["keeps_splits"]:
        yield "`DATASET` stands for this folder: the splits of a dataset that has grown are taken from it."
    yield ""
    yield from _fenced(report["command"])
    yield ""
    yield f"Fingerprint: `{report['fingerprint']}`"
    yield ""
    yield from _table(("Option", "Value"), [[plain(name), plain(value)] for name, value in report["settings"]])
    yield ""
    yield from _table(("Version of", ""), [[plain(name), plain(value)] for name, value in report["versions"]])


def card_text(report: Report) -> bytes:
    """The Markdown for what `card_report.describe_card` gives."""
    examples = sum(split["examples"] for split in report["splits"] if not split["is_fold"])
    classes = counted(len(report["names"]), "class", "classes")
    lines = [
        f"# {TITLE}",
        "",
        f"{counted(report['counts']['written'], 'image')} of {classes}, {counted(examples, 'record')}.",
        "For research. Not for decisions about patients; the licences of the images are below, and yours to check.",
        "",
        *_numbers(report),
        *_origin(report),
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")
