"""The dataset card: what it says, as a page and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.common.html import Section, counted, grouped, percent, plural, render
from pipelines.common.markdown import fenced, plain, table
from pipelines.common.text import printable
from pipelines.dataset.image_row import DUPLICATE, REJECTED, UNDERSAMPLED, WRITTEN
from pipelines.domain.dataset_json import SPLITS

TITLE = "Dataset card"
# Key in the counts of dataset.json -> outcome, in the order in which the sum is shown.
OUTCOMES = {"written": WRITTEN, "duplicates": DUPLICATE, "rejected": REJECTED, "undersampled": UNDERSAMPLED}


Report = Mapping[str, Any]


def _sources(totals: Mapping, sources: Sequence[str]) -> list[dict[str, Any]]:
    described = []
    for source in dict.fromkeys(sources):
        counts = {name: totals.get(("source", source, outcome), 0) for name, outcome in OUTCOMES.items()}
        described.append({"name": printable(source), "listed": sum(counts.values()), **counts})
    return described


def _classes(description: Report, totals: Mapping) -> list[dict[str, Any]]:
    """Describe each class: its images, and what balancing made of those in train."""
    described = []
    for name in description["classes"]:
        splits = {split: description["splits"][split]["per_class"][name]["originals"] for split in SPLITS}
        examples = description["splits"]["train"]["per_class"][name]["examples"]
        left_out = totals.get(("undersampled", name), 0)
        copies = sorted(key[2] for key in totals if key[:2] == ("copies", name))
        described.append(
            {
                "class": name,
                "malignant": name in description["malignant_classes"],
                "written": sum(splits.values()),
                "splits": splits,
                "before": splits["train"] + left_out,
                "left_out": left_out,
                "images": splits["train"],
                "added": examples - splits["train"],
                "examples": examples,
                "least": copies[0] if copies else 0,
                "most": copies[-1] if copies else 0,
            }
        )
    return described


def _splits(description: Report) -> list[dict[str, Any]]:
    """Describe the splits, the train split followed by its folds."""
    described = []
    for split in SPLITS:
        part = description["splits"][split]
        parts = [(split, False, part), *((f"fold {entry['fold']}", True, entry) for entry in part.get("folds", ()))]
        described += [
            {
                "name": name,
                "is_fold": is_fold,
                "images": entry["originals"],
                "examples": entry["examples"],
                "shards": len(entry["shards"]),
                "bytes": entry["bytes"],
            }
            for name, is_fold, entry in parts
        ]
    return described


def _settings(description: Report) -> list[tuple[str, str]]:
    """Return the settings that determine the records, as text."""
    encoding = " ".join(str(value) for value in description["encoding"].values())
    own = {"image_size": description["image_size"], "aspect": description["aspect"], "encoding": encoding}
    settings = {**own, "seed": description["seed"], **description["options"]}
    return [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in settings.items()
    ]


def describe_card(
    description: Report,
    totals: Mapping,
    licenses: Sequence[tuple[str, int]],
    most_licenses: int,
    sources: Sequence[str],
    command: str,
) -> dict[str, Any]:
    """Return what the card says, as both of its forms need it.

    Args:
        description: The content of dataset.json.
        totals: The sum of `description.tally_row` over all rows.
        licenses: The most frequent licences of the written images, each with its number of files.
        most_licenses: The limit on `licenses`: with as many, there may be more.
        sources: The names of the inputs.
        command: The command that makes this dataset again.
    """
    classes = _classes(description, totals)
    sums = ("before", "left_out", "images", "added", "examples")
    return {
        "names": list(description["classes"]),
        "counts": description["counts"],
        "beside": description["beside"],
        "classes": classes,
        "total": {name: sum(entry[name] for entry in classes) for name in sums},
        "balance": description["options"]["balance"],
        "target": description["options"]["target_per_class"],
        "split_names": list(SPLITS),
        "splits": _splits(description),
        "has_folds": bool(description["splits"]["train"]["folds"]),
        "dropped": sorted(description["dropped"].items(), key=lambda item: (-item[1], item[0])),
        "conflicts": description["dropped"].get("label_conflict", 0),
        "near_duplicates": description["near_duplicates"],
        "frequent_lesions": description["frequent_lesions"],
        "sources": _sources(totals, sources),
        "licenses": [{"license": name, "files": files} for name, files in licenses],
        "licenses_cut": len(licenses) >= most_licenses,
        "settings": _settings(description),
        "versions": sorted(description["versions"].items()),
        "fingerprint": description["fingerprint"],
        "command": printable(command),
        "keeps_splits": " --splits_from DATASET " in command,
    }


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
        "dropped": Section("Files left out", counts["listed"] - counts["written"] - counts["ignored"]),
        "origin": Section("How it was made"),
    }


def card_page(report: Report, pictures: Pictures) -> bytes:
    """Return the HTML page of a dataset card.

    Args:
        report: The result of `card_report.describe_card`.
        pictures: The pictures to show, by class.
    """
    return render("dataset.html.j2", title=TITLE, report=report, pictures=pictures, sections=_sections(report))


def _per_image(least: int, most: int) -> str:
    return grouped(least) if least == most else f"{grouped(least)} to {grouped(most)}"


def _beside(beside: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    for what, title in (("ignored", "No images"), ("passed_over", "Left by a system")):
        rows = [[plain(kind["kind"]), kind["files"], plain(", ".join(kind["first"]))] for kind in beside[what]]
        if rows:
            yield ""
            yield from table((title, "Number", "The first"), rows)


def _numbers(report: Report) -> Iterator[str]:
    counts, total, split_names = report["counts"], report["total"], report["split_names"]
    sums = " + ".join(
        f"{grouped(counts[name])} {name}" for name in ("written", "duplicates", "rejected", "undersampled", "ignored")
    )
    yield "## Files"
    yield ""
    yield f"{grouped(counts['listed'])} listed = {sums}."
    yield f"{grouped(counts['with_lesion_id'])} of the images written have a lesion id."
    for entry in report["frequent_lesions"]:
        yield (
            f"{plain(entry['lesion_id'])} is the lesion of {grouped(entry['images'])} of {grouped(entry['of'])} images."
            " They share a split; if it stands for nothing, empty it in the table."
        )
    yield from _beside(report["beside"])
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
