"""The page of an audit: it says all that the report says, shows hostile names harmlessly, and loads nothing."""

from __future__ import annotations

import base64
import copy
import io
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jinja2 import UndefinedError
from markupsafe import escape
from PIL import Image

from pipelines.audit.page import audit_page, findings, pictured_paths
from pipelines.common.html import script_source
from tests.support.browser import Element, dump_dom, parse, screenshot


def _side(number: int, label: str) -> dict[str, Any]:
    return {"id": f"ISIC_{number}", "path": f"Train/{number}.jpg", "label": label, "lesion_ids": [f"HAM_{number}"]}


def _ids(known: int, of_the_archive: int, numbers: int, the_same: int) -> dict[str, int]:
    return {
        "known": known,
        "of_the_archive": of_the_archive,
        "numbers_of_one_source": numbers,
        "the_same_anywhere": the_same,
    }


def _example_report() -> dict[str, Any]:
    """An archive with one of every trouble."""
    return {
        "schema_version": 1,
        "classes": ["melanoma", "nevus"],
        "sources": [
            {
                "name": "clinic",
                "path": "gs://bucket/clinic/Train",
                "layout": "class folders",
                "tables": ["HAM10000_metadata.csv"],
                "listed": 2241,
                "usable": 1949,
                "duplicates": 4,
                "rejected": 288,
            },
            {
                "name": "atlas",
                "path": "atlas.zip",
                "layout": "flat",
                "tables": [],
                "listed": 12,
                "usable": 12,
                "duplicates": 0,
                "rejected": 0,
            },
        ],
        "tables": ["HAM10000_metadata.csv"],
        "counts": {
            "listed": 2256,
            "ignored": 3,
            "usable": 1961,
            "duplicates": 4,
            "rejected": 288,
            "distinct_ids": 2102,
        },
        "beside": {
            "ignored": [{"kind": ".txt", "files": 3, "first": ["licenses/CC-0.txt"]}],
            "passed_over": [{"kind": "@eaDir", "files": 12, "first": ["Train/@eaDir"]}],
        },
        "per_class": [
            {
                "class": "melanoma",
                "usable": 375,
                "sources": {"clinic": 363, "atlas": 12},
                "splits": {"train": 300, "validation": 75, "test": 0},
            },
            {
                "class": "nevus",
                "usable": 1586,
                "sources": {"clinic": 1586, "atlas": 0},
                "splits": {"train": 1269, "validation": 158, "test": 159},
            },
        ],
        "rejects": [
            {
                "stage": "check",
                "reason": "undecodable",
                "files": 2,
                "examples": [{"path": "Train/broken.jpg", "message": "image file is truncated"}],
            }
        ],
        "unmapped_labels": [{"label": "nevus pigmentosus", "files": 13, "nearest": "nevus"}],
        "duplicates": {
            "same_bytes": 3,
            "same_image": 1,
            "examples": [{"path": "Train/twice.jpg", "kept": "Train/once.jpg", "reason": "duplicate"}],
        },
        "repeated_names": {"files": 14, "examples": ["Train/nevus/ISIC_0025509(1).jpg"]},
        "lesions": {
            "distinct": 1033,
            "with_several_images": 291,
            "images": 1445,
            "ids": _ids(1050, 901, 100, 49),
            "frequent": [{"lesion_id": "see notes", "images": 130, "of": 2102}],
        },
        "patients": {"distinct": 700, "with_several_images": 31, "images": 800, "ids": _ids(706, 502, 200, 4)},
        "conflicts": {
            "images": 151,
            "files": 287,
            "pairs": [{"labels": ["melanoma", "nevus"], "images": 75, "files": 150}],
            "examples": [
                {
                    "id": "ISIC_0024382",
                    "paths": ["Train/melanoma/a.jpg", "Train/nevus/a.jpg"],
                    "claims": [{"source": "folder", "labels": ["melanoma"]}, {"source": "t.csv", "labels": ["nv"]}],
                }
            ],
        },
        "id_conflicts": {
            "images": 6,
            "files": 13,
            "examples": [{"id": "ISIC_0024390", "paths": ["a/ISIC_0024390.jpg", "b/ISIC_0024390.jpg"]}],
        },
        "masks": {
            "files": 45,
            "examples": [{"path": "masks/c.png", "of": "images/c.jpg", "message": "a mask, no photograph"}],
        },
        "corrections": [{"image": "ISIC_0000007", "action": "relabel", "label": "nevus", "finding": "near_duplicates"}],
        "leakage": {
            "given": {"train": 2241, "validation": 0, "test": 118},
            "groups": 38,
            "files": {"train": 51, "validation": 0, "test": 44},
            "examples": [
                {
                    "group": "ab12",
                    "because": ["lesion HAM_0001234", "same image"],
                    "files": {"train": ["Train/b.jpg"], "test": ["Test/b.jpg"]},
                }
            ],
        },
        "near_duplicates": {
            "pairs": 52,
            "skipped": 7,
            "other_label": 5,
            "examples": [
                {
                    "first": _side(1, "nevus"),
                    "second": _side(2, "melanoma"),
                    "hash_distance": 6,
                    "pixel_distance": 0.081,
                }
            ],
        },
        "quality": {
            "files": 17,
            "issues": [
                {
                    "issue": "blurry",
                    "files": 16,
                    "examples": [{"id": "ISIC_0024916", "path": "Train/nevus/ISIC_0024916.jpg", "score": 0.2541}],
                },
                {
                    "issue": "thumbnail",
                    "files": 2,
                    "examples": [{"id": "small", "path": "Train/nevus/small.jpg", "width": 161, "height": 121}],
                },
            ],
        },
        "label_errors": {
            "predictions": "out/experiment/out_of_fold.parquet",
            "images": 1950,
            "without_prediction": 11,
            "found": 61,
            "thresholds": [{"class": "melanoma", "probability": 0.5123}, {"class": "nevus", "probability": 0.8765}],
            "pairs": [{"label": "nevus", "suggested": "melanoma", "images": 61}],
            "examples": [
                {
                    "id": "ISIC_0024999",
                    "path": "Train/nevus/ISIC_0024999.jpg",
                    "label": "nevus",
                    "suggested": "melanoma",
                    "probability_of_label": 0.0213,
                    "probability_of_suggested": 0.9437,
                }
            ],
        },
        "sizes": {
            "smallest": [180, 181],
            "largest": [6000, 4000],
            "common": [{"width": 600, "height": 450, "files": 936}],
            "formats": {"jpeg": 2240, "png": 11},
        },
        "licenses": [{"license": "CC-BY-NC", "files": 1950}, {"license": "unknown", "files": 14}],
        "splits": {
            "train": {"images": 1569, "groups": 1200},
            "validation": {"images": 233, "groups": 207},
            "test": {"images": 159, "groups": 144},
        },
        "problem": "--split_fractions 0.8,0.1,0.1 leaves class 'melanoma' without a test image",
    }


def _empty_report() -> dict[str, Any]:
    """An archive of nothing."""

    def emptied(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: emptied(item) for key, item in value.items()}
        return [] if isinstance(value, list) else 0

    empty = emptied(_example_report())
    return {**empty, "schema_version": 1, "sizes": {**empty["sizes"], "formats": {}}, "problem": None}


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """A report with every leaf changed; keys stay."""
    if isinstance(value, list):
        return [_mapped(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    return change(value)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    elif value is not None:
        yield value


def _jpeg(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (48, 36), colour).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _pictures(paths: list[str]) -> dict[str, bytes]:
    """A picture of another colour for each path."""
    return {path: _jpeg((20 * index, 255 - 20 * index, 128)) for index, path in enumerate(paths)}


def _section(tree: Element, name: str) -> Element:
    (found,) = (element for element in tree.find("section") if element.attributes["id"] == name)
    return found


def test_every_figure_and_name_stands_in_its_section() -> None:
    numbers = itertools.count(10_001)
    report = _mapped(_example_report(), lambda leaf: next(numbers) if type(leaf) is int else leaf)
    sections = {
        "sources": report["sources"],
        "counts": [report["counts"], report["beside"]],
        "classes": [report["per_class"], report["splits"], list(report["splits"])],
        "conflicts": report["conflicts"],
        "id_conflicts": report["id_conflicts"],
        "masks": report["masks"],
        "leakage": report["leakage"],
        "duplicates": [report["duplicates"], report["repeated_names"]],
        "near_duplicates": report["near_duplicates"],
        "label_errors": report["label_errors"],
        "quality": report["quality"],
        "rejects": report["rejects"],
        "unmapped": report["unmapped_labels"],
        "corrections": report["corrections"],
        "lesions": [report["lesions"], report["patients"]],
        "sizes": [report["sizes"], list(report["sizes"]["formats"])],
        "licenses": report["licenses"],
    }
    tree = parse(audit_page(report, {}).decode())
    missing = []
    for name, part in sections.items():
        text = _section(tree, name).text()
        said = set(re.findall(r"\d[\d,.]*\d|\d", text))
        for leaf in _leaves(part):
            shown = leaf in text if isinstance(leaf, str) else (f"{leaf:,}" in said)
            if not shown:
                missing.append((name, leaf))
    assert missing == []
    assert [element.attributes["id"] for element in tree.find("section")] == list(sections)


def test_the_summary_counts_what_is_wrong_and_links_to_it() -> None:
    report = _example_report()
    assert [(finding.number, finding.section, finding.names) for finding in findings(report)] == [
        (151, "conflicts", ()),
        (6, "id_conflicts", ()),
        (45, "masks", ()),
        (38, "leakage", ()),
        (1, "classes", ("melanoma",)),
        (61, "label_errors", ()),
        (52, "near_duplicates", ()),
        (4, "duplicates", ()),
        (288, "rejects", ("undecodable 2",)),
        (17, "quality", ("blurry 16", "thumbnail 2")),
        (1, "lesions", ("see notes",)),
        (1, "unmapped", ("nevus pigmentosus",)),
        (14, "licenses", ()),
    ]
    # Without a Test folder there is nothing to leak into; a split that is not asked for is no class's lack.
    report["leakage"]["given"]["test"] = 0
    report["splits"]["test"] = {"images": 0, "groups": 0}
    page = audit_page(report, {}).decode()
    assert not {"leakage", "classes"} & {finding.section for finding in findings(report)}
    assert "No two folders that name a split, such as Train and Test, were found" in page
    assert report["problem"] in parse(page).text()


_ONE_LINERS = ("conflicts", "id_conflicts", "masks", "leakage", "rejects", "unmapped")


def test_an_empty_report_has_one_line_for_each_thing_that_is_not_there() -> None:
    report = _empty_report()
    tree = parse(audit_page(report, {}).decode())
    assert findings(report) == []
    assert "Nothing is wrong" in tree.text()
    assert [len(_section(tree, name).find("p")) for name in _ONE_LINERS] == [1] * 6
    assert tree.find("img") == tree.find("details") == tree.find("table") == []


def test_without_predictions_the_page_says_how_to_get_them() -> None:
    text = _section(parse(audit_page({**_example_report(), "label_errors": None}, {}).decode()), "label_errors").text()
    assert "--predictions" in text
    assert "out_of_fold.parquet" in text


def test_every_finding_about_an_image_can_be_marked_and_files_that_share_an_id_by_their_paths() -> None:
    tree = parse(audit_page(_example_report(), {}).decode())
    marks = [element.attributes for element in tree.find("div") if element.attributes.get("class") == "mark"]
    names: dict[str, list[str]] = {}
    for mark in marks:
        if "data-action" not in mark:
            names.setdefault(mark["data-finding"], []).append(mark["data-image"])
    assert names == {
        "conflicts": ["ISIC_0024382"],
        "id_conflicts": ["a/ISIC_0024390.jpg", "b/ISIC_0024390.jpg"],
        "masks": ["masks/c.png"],
        "near_duplicates": ["Train/1.jpg", "Train/2.jpg"],
        "label_errors": ["ISIC_0024999"],
        "quality": ["ISIC_0024916", "Train/nevus/small.jpg"],
    }


def test_what_is_left_out_is_named_with_its_file() -> None:
    page = audit_page(_example_report(), {}).decode()
    for line in (
        "First 1 of 151; all in <code>conflicts-*.jsonl</code>",
        "First 1 of 6; all in <code>rejects-*.jsonl</code>",
        "First 1 of 45; all in <code>rejects-*.jsonl</code>",
        "First 1 of 38; all in <code>leakage-*.jsonl</code>",
        "First 1 of 4; all in <code>rejects-*.jsonl</code>",
        "First 1 of 61; all in <code>label_errors-*.jsonl</code>",
        "First 1 of 52; all in <code>near_duplicates-*.jsonl</code>",
        "First 1 of 2; all in <code>rejects-*.jsonl</code>",
    ):
        assert page.count(line) == 1
    assert "First" not in audit_page(_empty_report(), {}).decode()


def _keys(value: Any, above: tuple = ()) -> Iterator[tuple]:
    """Where each key of a report is, but for keys that are names of sources, splits or formats."""
    items = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for key, item in items:
        if isinstance(value, dict) and not {"sources", "splits", "files", "given", "formats"} & set(above[-1:]):
            yield (*above, key)
        yield from _keys(item, (*above, key))


def test_a_report_that_lacks_anything_is_an_error() -> None:
    accepted = []
    for *above, last in _keys(_example_report()):
        report = copy.deepcopy(_example_report())
        owner = report
        for key in above:
            owner = owner[key]
        del owner[last]
        try:
            audit_page(report, {})
        except (KeyError, UndefinedError):
            continue
        accepted.append((*above, last))
    assert accepted == []


def test_pictures_are_in_the_page_and_the_others_have_a_place() -> None:
    report = _example_report()
    paths = pictured_paths(report)
    pictures = _pictures(paths)
    del pictures[paths[0]]
    tree = parse(audit_page(report, pictures).decode())
    kind = "data:image/jpeg;base64,"
    shown = [image.attributes["src"] for image in tree.find("img")]
    assert all(source.startswith(kind) for source in shown)
    assert [base64.b64decode(source.removeprefix(kind)) for source in shown] == list(pictures.values())
    assert tree.text().count("no picture") == 1


@pytest.mark.parametrize("report", [_example_report(), _empty_report()], ids=["full", "empty"])
def test_the_page_is_whole(report: dict[str, Any]) -> None:
    tree = parse(audit_page(report, {}).decode())
    ids = [element.attributes["id"] for element in tree if "id" in element.attributes]
    assert len(set(ids)) == len(ids)
    assert {link.attributes["href"] for link in tree.find("a")} == {f"#{name}" for name in ids}


def test_characters_that_cannot_be_seen_or_written_are_shown() -> None:
    report = {
        **_empty_report(),
        "label_errors": None,
        "repeated_names": {"files": 4, "examples": ["a\0b", "c\udcffd", "e\rf", "gpj\u202e"]},
    }
    tree = parse(audit_page(report, {}).decode())
    assert [name.text() for name in tree.find("bdi")] == [
        "a\N{REPLACEMENT CHARACTER}b",
        r"c\udcffd",
        "e\rf",
        "gpj\u202e",
    ]
    boxes = [box for name in tree.find("bdi") for box in name.find("span")]
    assert [box.attributes["data-code"] for box in boxes] == ["U+0000", "U+000D", "U+202E"]


def test_a_browser_shows_hostile_names_and_asks_for_nothing(
    tmp_path: Path, requests_seen: tuple[str, list[str]]
) -> None:
    address, asked = requests_seen

    def hostile(text: str) -> str:
        return (
            f"\n{text}<script>document.title='run'</script>\"'>&amp;&lt;<img src={address}/name onerror=alert(1)>"
            f"<meta http-equiv=refresh content='0;url={address}/refresh'></bdi></title></style><!--"
            f"\u202egpj.exe\u2069\u202c {{{{ 7 * 7 }}}} {'long' * 80}\r\n"
        )

    report = _mapped(_example_report(), lambda leaf: hostile(leaf) if isinstance(leaf, str) else leaf)
    for row in report["per_class"]:
        row["sources"] = {hostile(source): files for source, files in row["sources"].items()}
    pictures = _pictures(pictured_paths(report))
    html = audit_page(report, pictures).decode()
    page = tmp_path / "page.html"
    page.write_bytes(html.encode())
    tree = parse(dump_dom(page))
    # The one script is the page's own, whatever the names.
    (marks,) = (script.text() for script in parse(audit_page(_empty_report(), {}).decode()).find("script"))
    assert {text for text in _leaves(report) if isinstance(text, str)} <= {name.text() for name in tree.find("bdi")}
    (script,) = tree.find("script")
    assert script.text() == marks
    assert script_source(marks) in html
    assert {"link", "iframe", "object", "embed", "form"}.isdisjoint(element.tag for element in tree)
    assert len(tree.find("img")) == len(pictures)
    assert [title.text() for title in tree.find("title")] == ["Archive audit"]
    # Even markup that got in could not load anything: the page's policy forbids it.
    page.write_bytes(html.replace("</main>", f"<img src={address}/inside></main>").encode())
    dump_dom(page)
    assert asked == []
    page.write_text(f"<img src={address}/free>")
    dump_dom(page)
    assert asked == ["/free"]

    # No name makes the page wider than a phone; a frame, since browsers' own windows cannot be that narrow.
    measure = "document.body.dataset.widths = [contentDocument.documentElement.scrollWidth, contentWindow.innerWidth]"
    page.write_text(f'<iframe width="400" srcdoc="{escape(html)}" onload="{measure}"></iframe>', newline="")
    (body,) = parse(dump_dom(page)).find("body")
    assert body.attributes["data-widths"] == "400,400"


@pytest.mark.parametrize("width", [1200, 400])
def test_a_browser_shows_the_pictures(tmp_path: Path, width: int) -> None:
    report = {**_empty_report(), "near_duplicates": _example_report()["near_duplicates"]}
    colours = {"Train/1.jpg": (250, 0, 250), "Train/2.jpg": (0, 250, 0)}
    page, png = tmp_path / "page.html", tmp_path / "page.png"
    page.write_bytes(audit_page(report, {path: _jpeg(colour) for path, colour in colours.items()}))
    screenshot(page, png, width, 4000)
    pixels = np.asarray(Image.open(png).convert("RGB")).astype(int)
    shown = [np.argwhere(np.abs(pixels - colour).max(axis=2) < 12) for colour in colours.values()]
    assert all(len(places) > 5000 for places in shown)
    # Side by side: the same rows, other columns.
    (top, left), (other_top, other_left) = (places.min(axis=0) for places in shown)
    assert top == other_top
    assert left < other_left
