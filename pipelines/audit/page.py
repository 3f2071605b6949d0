"""Render the HTML page of an audit: what is wrong with an archive, with figures, examples and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pipelines.common.html import Section, counted, plural, render
from pipelines.domain.image_ids import isic_id_of

# The entry in the list of licences for images whose licence no table gives.
UNKNOWN_LICENSE = "unknown"


# Number of colours that the style sheet has for bar segments. With more sources than that, bars are not segmented.
SERIES = 6


Report = Mapping[str, Any]


class Finding(NamedTuple):
    """One line of the summary."""

    number: int
    text: str  # what `number` counts
    section: str  # key of the section with the details
    names: tuple[str, ...] = ()  # the things that were counted


def _has_splits(report: Report) -> bool:
    """Return whether the archive itself assigns files to two or more splits; otherwise nothing can leak."""
    return sum(map(bool, report["leakage"]["given"].values())) > 1


def _duplicates(report: Report) -> int:
    return report["duplicates"]["same_bytes"] + report["duplicates"]["same_image"]


def _unlicensed(report: Report) -> int:
    return sum(row["files"] for row in report["licenses"] if row["license"] == UNKNOWN_LICENSE)


def _sources_disagree(report: Report) -> Iterator[Finding]:
    conflicts = report["conflicts"]
    if images := conflicts["images"]:
        files = counted(conflicts["files"], "file")
        yield Finding(images, f"{plural(images, 'image')} on whose class the sources disagree ({files})", "conflicts")


def _pictures_share_ids(report: Report) -> Iterator[Finding]:
    conflicts = report["id_conflicts"]
    if images := conflicts["images"]:
        files = counted(conflicts["files"], "file")
        yield Finding(images, f"{plural(images, 'id has', 'ids have')} different pictures ({files})", "id_conflicts")


def _files_are_masks(report: Report) -> Iterator[Finding]:
    if files := report["masks"]["files"]:
        text = plural(files, "file is a mask and no photograph", "files are masks and no photographs")
        yield Finding(files, text, "masks")


def _sides_share_images(report: Report) -> Iterator[Finding]:
    leakage = report["leakage"]
    if (groups := leakage["groups"]) and _has_splits(report):
        files = " + ".join(f"{number:,} {split}" for split, number in leakage["files"].items() if number)
        text = plural(groups, "group of images that belong together lies", "groups of images that belong together lie")
        yield Finding(groups, f"{text} on two sides of the given split ({files} files)", "leakage")


def _classes_too_small(report: Report) -> Iterator[Finding]:
    """Yield findings for classes without usable images, and for classes missing from a non-empty split."""
    rows = report["per_class"]
    if absent := tuple(row["class"] for row in rows if not row["usable"]):
        text = plural(len(absent), "class has", "classes have")
        yield Finding(len(absent), f"{text} no usable image:", "classes", absent)
    for split, total in report["splits"].items():
        small = tuple(row["class"] for row in rows if row["usable"] and not row["splits"].get(split))
        if small and total["images"]:
            text = plural(len(small), "class is", "classes are")
            yield Finding(len(small), f"{text} too small for a {split} image:", "classes", small)


def _files_repeat(report: Report) -> Iterator[Finding]:
    duplicates = report["duplicates"]
    if files := _duplicates(report):
        kinds = f"{duplicates['same_bytes']:,} with the same bytes, {duplicates['same_image']:,} of the same image id"
        yield Finding(files, f"{plural(files, 'file repeats', 'files repeat')} another ({kinds})", "duplicates")


def _pictures_repeat(report: Report) -> Iterator[Finding]:
    near = report["near_duplicates"]
    if pairs := near["pairs"]:
        text = f"{plural(pairs, 'pair')} of different image ids {plural(pairs, 'shows', 'show')} the same picture"
        other = f", {near['other_label']:,} under different labels" if near["other_label"] else ""
        yield Finding(pairs, text + other, "near_duplicates")


def _labels_are_doubtful(report: Report) -> Iterator[Finding]:
    errors = report["label_errors"]
    if errors and (found := errors["found"]):
        text = plural(found, "image whose label is", "images whose labels are")
        yield Finding(found, f"{text} probably wrong", "label_errors")


def _pictures_are_poor(report: Report) -> Iterator[Finding]:
    quality = report["quality"]
    if files := quality["files"]:
        names = tuple(f"{entry['issue']} {entry['files']:,}" for entry in quality["issues"])
        yield Finding(files, f"{plural(files, 'photograph')} of doubtful quality:", "quality", names)


def _files_are_rejected(report: Report) -> Iterator[Finding]:
    if files := report["counts"]["rejected"]:
        reasons = tuple(f"{row['reason']} {row['files']:,}" for row in report["rejects"])
        yield Finding(files, f"{plural(files, 'file')} would be rejected:", "rejects", reasons)


def _lesions_are_frequent(report: Report) -> Iterator[Finding]:
    if lesions := tuple(entry["lesion_id"] for entry in report["lesions"]["frequent"]):
        text = plural(len(lesions), "value names", "values name")
        yield Finding(len(lesions), f"{text} over a twentieth of all images as one lesion:", "lesions", lesions)


def _labels_are_unmapped(report: Report) -> Iterator[Finding]:
    if labels := tuple(row["label"] for row in report["unmapped_labels"]):
        text = plural(len(labels), "label stands for no class:", "labels stand for no class:")
        yield Finding(len(labels), text, "unmapped", labels)


def _licenses_are_missing(report: Report) -> Iterator[Finding]:
    if files := _unlicensed(report):
        yield Finding(files, f"{plural(files, 'file has', 'files have')} no known licence", "licenses")


def findings(report: Report) -> list[Finding]:
    """Return what is wrong with the archive.

    Args:
        report: The content of audit.json.

    Returns:
        The findings, worst first; empty if there are none.
    """
    checks = (
        _sources_disagree,
        _pictures_share_ids,
        _files_are_masks,
        _sides_share_images,
        _classes_too_small,
        _labels_are_doubtful,
        _pictures_repeat,
        _files_repeat,
        _files_are_rejected,
        _pictures_are_poor,
        _lesions_are_frequent,
        _labels_are_unmapped,
        _licenses_are_missing,
    )
    return [finding for check in checks for finding in check(report)]


def _sections(report: Report) -> dict[str, Section]:
    """Return the sections in page order, keyed by the name that links use."""
    return {
        "sources": Section("Sources", len(report["sources"])),
        "counts": Section("Files", report["counts"]["listed"]),
        "classes": Section("Images per class", report["counts"]["usable"]),
        "conflicts": Section("Conflicting labels", report["conflicts"]["images"]),
        "id_conflicts": Section("Different pictures under one id", report["id_conflicts"]["images"]),
        "masks": Section("Masks", report["masks"]["files"]),
        "leakage": Section("Leakage across given splits", report["leakage"]["groups"] if _has_splits(report) else None),
        "duplicates": Section("Duplicates", _duplicates(report)),
        "near_duplicates": Section("Near-duplicates", report["near_duplicates"]["pairs"]),
        "label_errors": Section(
            "Probable label errors", report["label_errors"]["found"] if report["label_errors"] else None
        ),
        "quality": Section("Quality of the photographs", report["quality"]["files"]),
        "rejects": Section("Rejected files", report["counts"]["rejected"]),
        "unmapped": Section("Labels without a class", len(report["unmapped_labels"])),
        "corrections": Section("Corrections", len(report["corrections"])),
        "lesions": Section("Lesions and patients", report["lesions"]["distinct"]),
        "sizes": Section("Image sizes"),
        "licenses": Section("Licences"),
    }


def _stacked(report: Report) -> bool:
    return 1 < len(report["sources"]) <= SERIES


def _class_bars(report: Report) -> list[tuple[str, list[int]]]:
    """Return each class with the lengths of its bar segments: usable files per source, or one total."""
    if not _stacked(report):
        return [(row["class"], [row["usable"]]) for row in report["per_class"]]
    names = [source["name"] for source in report["sources"]]
    return [(row["class"], [row["sources"].get(name, 0) for name in names]) for row in report["per_class"]]


def pictured_paths(report: Report) -> list[str]:
    """Return the paths that have a slot for a picture on the page.

    Args:
        report: The content of audit.json.

    Returns:
        Paths in page order, without repeats.
    """
    paths: dict[str, None] = {}
    for conflict in report["conflicts"]["examples"]:
        paths.update(dict.fromkeys(conflict["paths"][:1]))
    for conflict in report["id_conflicts"]["examples"]:
        paths.update(dict.fromkeys(conflict["paths"]))
    for mask in report["masks"]["examples"]:
        paths[mask["path"]] = None
    for group in report["leakage"]["examples"]:
        paths.update((path, None) for files in group["files"].values() for path in files)
    for duplicate in report["duplicates"]["examples"]:
        paths[duplicate["kept"]] = None
    for pair in report["near_duplicates"]["examples"]:
        paths.update(dict.fromkeys((pair["first"]["path"], pair["second"]["path"])))
    if report["label_errors"]:
        paths.update((error["path"], None) for error in report["label_errors"]["examples"])
    for entry in report["quality"]["issues"]:
        paths.update((example["path"], None) for example in entry["examples"])
    return list(paths)


def image_name(image_id: str, path: str) -> str:
    """Return the name by which corrections call an image: its ISIC id, or the path of its file."""
    return image_id if isic_id_of(image_id) == image_id else path


def audit_page(report: Report, pictures: Mapping[str, bytes]) -> bytes:
    """Render the page.

    Args:
        report: The content of audit.json.
        pictures: Path (see `pictured_paths`) -> small JPEG. A path without a picture gets a placeholder.

    Returns:
        The HTML file.

    Raises:
        KeyError: The report lacks a key.
        jinja2.UndefinedError: The report lacks a value that the template needs.
    """
    return render(
        "audit.html.j2",
        title="Archive audit",
        report=report,
        pictures=pictures,
        findings=findings(report),
        sections=_sections(report),
        class_bars=_class_bars(report),
        stacked=_stacked(report),
        has_splits=_has_splits(report),
        duplicates=_duplicates(report),
        image_name=image_name,
    )
