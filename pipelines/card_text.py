"""Make the Markdown of a dataset card: the facts of the page, without its pictures."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.card_report import TITLE, Report
from pipelines.html import counted, grouped, percent, plural
from pipelines.markdown import fenced, plain, table


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
    yield from table(
        ("Class", "Images before", "Left out", "Written", "Copies added", "Examples after", "Examples per image"),
        [*rows, ["**train**", *(total[column] for column in columns), ""]],
    )
    yield ""
    yield "## Splits"
    yield ""
    yield from table(
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
    yield from table(
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
    yield from table(
        ("Source", *(column.capitalize() for column in columns)),
        [[plain(source["name"]), *(source[column] for column in columns)] for source in report["sources"]],
    )
    yield ""
    yield "## Licences of the images written" + (", the most frequent" if report["licenses_cut"] else "")
    yield ""
    yield from table(("Licence", "Images"), [[plain(row["license"]), row["files"]] for row in report["licenses"]])
    yield ""
    yield "## Files left out"
    yield ""
    yield from table(("Reason", "Files"), [[plain(reason), files] for reason, files in report["dropped"]])
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
    yield from fenced(report["command"])
    yield ""
    yield f"Fingerprint: `{report['fingerprint']}`"
    yield ""
    yield from table(("Option", "Value"), [[plain(name), plain(value)] for name, value in report["settings"]])
    yield ""
    yield from table(("Version of", ""), [[plain(name), plain(value)] for name, value in report["versions"]])


def card_text(report: Report) -> bytes:
    """Return the Markdown, as UTF-8, of what `card_report.describe_card` returns."""
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
