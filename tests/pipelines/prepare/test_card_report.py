"""The dataset card, page and text: both say every figure, and hostile names do nothing in either."""

from __future__ import annotations

import copy
import io
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError
from PIL import Image

from pipelines.beam.tally import Tally
from pipelines.dataset.description import tally_row
from pipelines.dataset.image_row import ImageRow
from pipelines.prepare.card_report import card_page, card_text, describe_card
from tests.support.browser import dump_dom, parse


def _part(originals: tuple[int, int], examples: tuple[int, int], shards: int) -> dict[str, Any]:
    return {
        "shards": [{"name": f"s{number}"} for number in range(shards)],
        "originals": sum(originals),
        "examples": sum(examples),
        "bytes": 7_000 + shards,
        "per_class": {
            name: {"originals": one, "examples": other}
            for name, one, other in zip(("melanoma", "nevus"), originals, examples, strict=True)
        },
    }


def _description() -> dict[str, Any]:
    folds = [{"fold": 0, **_part((1, 2), (2, 2), 1)}, {"fold": 1, **_part((2, 2), (2, 2), 1)}]
    return {
        "fingerprint": "ab" * 32,
        "classes": ["melanoma", "nevus"],
        "malignant_classes": ["melanoma"],
        "image_size": 64,
        "aspect": "crop",
        "encoding": {"format": "jpeg", "quality": 95},
        "seed": 0,
        "options": {"balance": "oversample", "target_per_class": "max", "licenses": []},
        "versions": {"numpy": "2.0"},
        "counts": {
            "listed": 20,
            "ignored": 3,
            "written": 10,
            "duplicates": 1,
            "rejected": 4,
            "undersampled": 2,
            "with_lesion_id": 6,
        },
        "beside": {
            "ignored": [{"kind": ".txt", "files": 3, "first": ["licenses/CC-0.txt"]}],
            "passed_over": [{"kind": "@eaDir", "files": 12, "first": ["Train/@eaDir"]}],
        },
        "dropped": {"duplicate": 1, "label_conflict": 3, "undecodable": 1, "undersampled": 2},
        "near_duplicates": {"pairs": 5, "skipped": 1},
        "frequent_lesions": [{"lesion_id": "see notes", "images": 6, "of": 15}],
        "splits": {
            "train": {**_part((3, 4), (4, 4), 2), "folds": folds},
            "validation": _part((1, 1), (1, 1), 1),
            "test": _part((1, 0), (1, 0), 1),
        },
    }


def _rows() -> list[ImageRow]:
    written = [
        ImageRow("p", "p", source="a", label="melanoma", split="train", copies=copies, outcome="written")
        for copies in (1, 2, 1)
    ]
    left_out = [ImageRow("p", "p", source="b", label="nevus", outcome="undersampled", reason="undersampled")] * 2
    elsewhere = [ImageRow("p", "p", source="b", label="nevus", split="test", copies=1, outcome="written")]
    return written + left_out + elsewhere


def _report() -> dict[str, Any]:
    tally = Tally()
    totals = tally.create_accumulator()
    for row in _rows():
        totals = tally.add_input(totals, tally_row(row))
    return describe_card(_description(), totals, [("CC-0", 8), ("unknown", 2)], 2, ("a", "b"), "python -m it")


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, list | tuple):
        return [_mapped(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    return change(value)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    else:
        yield value


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "JPEG")
    return buffer.getvalue()


def test_what_balancing_did_comes_from_the_rows() -> None:
    melanoma, nevus = _report()["classes"]
    assert (melanoma["least"], melanoma["most"], melanoma["before"], melanoma["added"]) == (1, 2, 3, 1)
    assert (nevus["before"], nevus["left_out"], nevus["images"], nevus["examples"]) == (6, 2, 4, 4)
    assert [(one["name"], one["listed"], one["written"], one["undersampled"]) for one in _report()["sources"]] == [
        ("a", 3, 3, 0),
        ("b", 3, 1, 2),
    ]


def test_page_and_text_say_every_figure_and_name() -> None:
    numbers = itertools.count(10_001)
    report = _mapped(_report(), lambda leaf: next(numbers) if type(leaf) is int else leaf)
    page = parse(card_page(report, {}).decode()).text()
    text = re.sub(r"\\(.)", r"\1", card_text(report).decode())
    for said in (page, text):
        figures = set(re.findall(r"\d[\d,.]*\d|\d", said))
        missing = [
            leaf
            for leaf in _leaves(report)
            if type(leaf) is not bool and (leaf not in said if isinstance(leaf, str) else f"{leaf:,}" not in figures)
        ]
        # The page shows by its legend how classes were balanced.
        assert [leaf for leaf in missing if leaf not in ("oversample", "max")] == []


def test_a_card_that_lacks_a_figure_is_an_error() -> None:
    for key in _report():
        report = copy.deepcopy(_report())
        del report[key]
        with pytest.raises((KeyError, UndefinedError), match=key):
            card_page(report, {}) + card_text(report)


def test_hostile_names_do_nothing_in_a_browser(tmp_path: Path) -> None:
    def hostile(text: str) -> str:
        return f"{text}<script>document.title='run'</script>\"'>&lt;</bdi></title><!--\u202egpj ``` | a `x` \r\n# h"

    report = _mapped(_report(), lambda leaf: hostile(leaf) if isinstance(leaf, str) else leaf)
    # Our own words.
    report |= {key: _report()[key] for key in ("balance", "target", "fingerprint", "split_names", "splits")}
    pictures = {report["names"][0]: [(hostile("id"), [_jpeg(), _jpeg()])]}
    page = tmp_path / "page.html"
    page.write_bytes(card_page(report, pictures))
    tree = parse(dump_dom(page))
    assert {hostile("a"), hostile("melanoma"), hostile("CC-0"), hostile("id"), hostile("python -m it")} <= {
        name.text() for name in tree.find("bdi")
    }
    assert "script" not in {element.tag for element in tree}
    assert [title.text() for title in tree.find("title")] == ["Dataset card"]
    assert len(tree.find("img")) == 2

    # In the text, every name stays in its cell: no line begins with one, and no mark of Markdown or HTML is bare.
    report["command"] = "x"
    lines = card_text(report).decode().splitlines()
    assert not any(line.startswith("# h") for line in lines)
    for line in lines:
        if "document" in line:
            assert re.search(r"(?<!\\)[<`]", line) is None


def test_a_command_with_backquotes_stays_in_its_block() -> None:
    report = {**_report(), "command": "python '```\n# h'"}
    text = card_text(report).decode()
    assert "````sh\npython '```\n# h'\n````\n" in text
