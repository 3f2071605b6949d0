"""The triage report as a page: what it says, that its filters work, that hostile names do nothing, its size."""

from __future__ import annotations

import base64
import datetime
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import escape
from PIL import Image

from pipelines.domain.decision_rule import OperatingPoint
from pipelines.imaging.previews import triage_pictures
from pipelines.score.models import Flagging, read_model_info
from pipelines.score.score_row import SCORED, ScoreRow, ScoringRun, malignancy_score, top_class
from pipelines.score.triage import REJECTS, CollectTriage, Triage
from pipelines.score.triage_page import IMAGE_BYTES, PAGE_BYTES, TEXT, THRESHOLDS, triage_page
from tests.support.browser import Element, dump_dom, parse, screenshot
from tests.support.documents import model_document, write_model_json

CLASSES = ["melanoma", "nevus", "basal cell carcinoma", "wart"]
MALIGNANT = ["melanoma", "basal cell carcinoma"]


def _run(folder: Path, classes: list[str] = CLASSES, malignant: list[str] = MALIGNANT) -> ScoringRun:
    """A run with a model of these classes."""
    description = model_document(classes, malignant, 64, model_fingerprint="a1" * 32, train_class_distribution={})
    write_model_json(folder, description)
    (folder / "saved_model.pb").write_bytes(b"")
    started = datetime.datetime(2026, 3, 4, 2, 30, tzinfo=datetime.UTC)
    return ScoringRun((read_model_info("--model", str(folder)),), False, "2026-03-04", started)


def _rows(count: int, path: str = "archive/{}.jpg", seed: int = 0, classes: int = len(CLASSES)) -> list[ScoreRow]:
    random = np.random.default_rng(seed)
    return [
        ScoreRow(
            path.format(index),
            "",
            f"ISIC_{index:07}",
            probabilities=tuple(map(float, random.dirichlet([0.4] * classes))),
            outcome=SCORED,
        )
        for index in range(count)
    ]


def _rejects(count: int, reason: str, text: str = "") -> list[ScoreRow]:
    return [
        ScoreRow(f"{text}bad/{index:03}.jpg", "", "").rejected("check", reason, f"{text} is broken")
        for index in range(count)
    ]


def _triage(run: ScoringRun, rows: list[ScoreRow], limit: int = 100) -> Triage:
    collect = CollectTriage(run, limit)
    return collect.extract_output(collect.add_input(collect.create_accumulator(), rows))


def _summary(triage: Triage, **others: Any) -> dict[str, Any]:
    rejected = sum(triage.rejected.values())
    counts = {"listed": triage.scored + rejected, "scored": triage.scored, "rejected": rejected}
    return {"counts": counts, **others}


def _page(run: ScoringRun, rows: list[ScoreRow], limit: int = 100, **others: Any) -> Element:
    triage = _triage(run, rows, limit)
    return parse(triage_page(run, _summary(triage, **others), triage, {}).decode())


def _jpeg(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (80, 60), colour).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _section(tree: Element, name: str) -> Element:
    (found,) = (element for element in tree.find("section") if element.attributes["id"] == name)
    return found


def _of_class(tree: Element, name: str) -> list[Element]:
    return [element for element in tree if name in (element.attributes.get("class") or "").split()]


@pytest.fixture
def run(tmp_path: Path) -> ScoringRun:
    return _run(tmp_path / "model")


def test_images_come_with_all_that_is_known_of_them(run: ScoringRun) -> None:
    rows = _rows(12)
    tree = _page(run, rows, limit=5)
    cards = tree.find("article")
    ranked = sorted(rows, key=lambda row: -malignancy_score(row, CLASSES, MALIGNANT))[:5]
    assert len(cards) == 5
    for card, row in zip(cards, ranked, strict=True):
        text = card.text()
        assert row.path in text
        assert row.image_id in text
        assert f"{malignancy_score(row, CLASSES, MALIGNANT):.3f} {top_class(row, run)}" in text
        shares = [number.text() for number in _of_class(card, "number")]
        assert shares == [f"{100 * value:.1f} %" for value in row.probabilities]
        assert [label.text() for label in _of_class(card, "bar-label")] == CLASSES
        assert "models" not in text
    text = _section(tree, "top").text()
    assert "The top 5 of 12 scored images" in text
    assert "melanoma, basal cell carcinoma" in text
    assert "All 12 scored images" in _page(run, rows).text()
    assert "no diagnosis" in tree.text()


def test_an_ensemble_shows_how_far_its_models_are_apart(run: ScoringRun) -> None:
    row = _rows(1)[0]._replace(
        probabilities=(0.5, 0.3, 0.1, 0.1), by_model=((0.3, 0.5, 0.1, 0.1), (0.7, 0.1, 0.1, 0.1))
    )
    (card,) = _page(run, [row]).find("article")
    assert "models 0.400 to 0.800" in card.text()
    spans = [mark.attributes["style"] for bar in _of_class(card, "bar") for mark in bar.find("i")]
    assert spans == ["left: 30.0%; width: 40.0%", "left: 10.0%; width: 40.0%"]


def test_filters_say_how_many_images_they_leave(run: ScoringRun) -> None:
    rows = _rows(60)
    tree = _page(run, rows, limit=20)
    scores = [malignancy_score(row, CLASSES, MALIGNANT) for row in rows]
    ranked = sorted(rows, key=lambda row: -malignancy_score(row, CLASSES, MALIGNANT))[:20]
    expected = {"all": (20, 60)}
    for name in CLASSES:
        of_top, of_all = (sum(top_class(row, run) == name for row in part) for part in (ranked, rows))
        expected[name] = of_top, of_all
    for threshold in THRESHOLDS:
        reached = sum(score >= threshold for score in scores)
        expected[f"≥ {threshold}"] = (min(20, reached), reached)
    said = {}
    for label in tree.find("label"):
        (count,) = _of_class(label, "count")
        numbers = [int(number) for number in re.findall(r"\d+", count.text())]
        said[" ".join(label.text().removesuffix(count.text()).split())] = (numbers[0], numbers[-1])
    assert said == expected
    assert 0 < expected["melanoma"][0] < expected["melanoma"][1]


# In the page around the report: chooses every pair of filters and writes down which images can be seen then.
CLICK = """
const inner = document.querySelector('iframe').contentDocument, found = {};
for (const kind of inner.querySelectorAll('[name=class]'))
  for (const level of inner.querySelectorAll('[name=level]')) {
    kind.click(); level.click();
    const cards = [...inner.querySelectorAll('article')].filter(card => card.offsetHeight > 0);
    found[kind.id + ' ' + level.id] = cards.map(card => card.querySelector('.id').textContent);
  }
document.body.dataset.found = JSON.stringify(found);
"""


def test_filters_show_and_hide_images_without_a_script(run: ScoringRun, tmp_path: Path) -> None:
    rows = _rows(40)
    triage = _triage(run, rows, 30)
    html = triage_page(run, _summary(triage), triage, {}).decode()
    page = tmp_path / "page.html"
    page.write_text(f'<iframe srcdoc="{escape(html)}" onload="{escape(CLICK)}"></iframe>', newline="")
    (body,) = parse(dump_dom(page)).find("body")
    found = json.loads(body.attributes["data-found"])
    expected = {}
    for kind, name in [("class-all", None), *((f"class-{label}", name) for label, name in enumerate(CLASSES))]:
        for level, threshold in [("level-all", 0), *((f"level-{i + 1}", least) for i, least in enumerate(THRESHOLDS))]:
            expected[f"{kind} {level}"] = [
                row.image_id
                for row in triage.top
                if name in (None, top_class(row, run)) and malignancy_score(row, CLASSES, MALIGNANT) >= threshold
            ]
    assert found == expected
    assert len(found["class-all level-all"]) == 30
    assert len({len(ids) for ids in found.values()}) > 5


def test_charts_hold_all_scored_images(run: ScoringRun) -> None:
    rows = _rows(200)
    tree = _page(run, rows, limit=3)
    score, *by_class, entropy = _of_class(_section(tree, "scores"), "histogram")
    for chart in (score, entropy):
        columns = [column.attributes["title"] for column in chart.find("div")]
        assert len(columns) == 20
        assert sum(int(title.split()[-2]) for title in columns) == 200
    expected, _ = np.histogram([malignancy_score(row, CLASSES, MALIGNANT) for row in rows], 20, (0, 1))
    first = score.find("div")[0]
    assert first.attributes["title"] == f"0.00 to 0.05: {expected[0]} images"
    styles = [re.match("height: (.*?)%", span.attributes["style"]) for span in first.find("span")]
    assert all(styles)
    heights = [float(style[1]) for style in styles if style]
    assert sum(heights) == pytest.approx(100 * expected[0] / expected.max(), abs=0.02)
    assert len(by_class) == len(CLASSES)


def test_rejects_are_counted_by_reason_and_the_first_are_listed(run: ScoringRun) -> None:
    rows = [*_rejects(REJECTS + 4, "undecodable"), *_rejects(2, "empty_file", "é "), *_rows(3)]
    section = _section(_page(run, rows), "rejects")
    assert [heading.text().split() for heading in section.find("h3")] == [["undecodable", "14"], ["empty_file", "2"]]
    paths = [element.text() for element in _of_class(section, "path")]
    assert paths == [row.path for row in rows[:REJECTS]] + ["é bad/000.jpg", "é bad/001.jpg"]
    assert "é  is broken in step check" in section.text()
    assert "First 10 of 14" in section.text()
    assert "No file was rejected" in _page(run, _rows(3)).text()


def test_drift_is_told_and_a_warning_comes_first(run: ScoringRun) -> None:
    drift = {
        "figure": 0.4321,
        "threshold": 0.25,
        "warning": True,
        "train": {"melanoma": 0.6, "nevus": 0.3, "basal cell carcinoma": 0.1, "wart": 0.0},
        "scored": {},
    }
    tree = _page(run, _rows(10), drift=drift)
    (box,) = _of_class(tree, "bad-box")
    assert "differ from the training data" in box.text()
    assert "0.432, beyond the limit of 0.250" in _section(tree, "classes").text()
    rows = {}
    for row in _section(tree, "classes").find("tr")[1:]:
        name = row.content[1]
        assert not isinstance(name, str)
        rows[name.text().strip()] = row.text()
    assert "60.0 %" in rows["melanoma malignant"]
    calm = _page(run, _rows(10), drift={**drift, "figure": 0.01, "warning": False})
    assert _of_class(calm, "bad-box") == []
    assert "0.010, within the limit of 0.250" in calm.text()


def test_models_and_settings_are_named(run: ScoringRun) -> None:
    models = [{"path": "gs://b/model", "fingerprint": "c3" * 32, "metrics": {"test": {"accuracy": 0.8125, "n": 1200}}}]
    tree = _page(run, _rows(2), models=models, seconds=12.34, images_per_second=210.0, stage_seconds={"read": 4.0})
    text = _section(tree, "run").text()
    for said in ("gs://b/model", "c3" * 32, "accuracy 0.8125, n 1,200", "2026-03-04 02:30:00 UTC", run.fingerprint):
        assert said in text
    assert "12.3 s, 210.0 images a second" in text
    assert "as it is" in text
    assert "eight flips" in _page(run._replace(tta=True), _rows(2)).text()


def test_a_run_without_scores_has_a_page(run: ScoringRun) -> None:
    tree = _page(run, _rejects(1, "empty_file"))
    assert "Nothing was scored" in tree.text()
    assert tree.find("article") == tree.find("img") == tree.find("input") == []
    without = _page(run, _rows(5), limit=0)
    assert "No images were asked for" in without.text()


def test_pictures_are_in_the_page(run: ScoringRun) -> None:
    triage = _triage(run, _rows(3))
    first, second, third = (row.path for row in triage.top)
    pictures = {
        first: (_jpeg((255, 0, 0)), _jpeg((0, 255, 0))),
        second: (_jpeg((0, 0, 255)), None),
    }
    tree = parse(triage_page(run, _summary(triage), triage, pictures).decode())
    kind = "data:image/jpeg;base64,"
    shown = [[image.attributes["src"] for image in card.find("img")] for card in tree.find("article")]
    assert [[base64.b64decode(source.removeprefix(kind)) for source in card] for card in shown] == [
        list(pictures[first]),
        [pictures[second][0]],
        [],
    ]
    assert third in tree.text()
    assert tree.text().count("no picture") == 1


def test_a_browser_shows_hostile_names_and_asks_for_nothing(
    tmp_path: Path, requests_seen: tuple[str, list[str]]
) -> None:
    address, asked = requests_seen

    def hostile(text: str) -> str:
        return (
            f"\n{text}<script>document.title='run'</script>\"'>&amp;<img src={address}/n onerror=alert(1)>"
            "</bdi></title></style><!--\u202egpj.exe{{ 7 * 7 }}\r\n"
        )

    classes = [hostile(name) for name in CLASSES]
    run = _run(tmp_path / "model", classes, classes[:1])._replace(name=hostile("run"))
    rows = [row._replace(image_id=hostile(row.image_id)) for row in _rows(4)]
    rows = [row._replace(path=hostile(row.path)) for row in rows]
    rejects = _rejects(2, hostile("reason"), hostile("reject"))
    names = [text for row in rows for text in (row.path, row.image_id)] + classes + [rejects[0].reason, run.name]
    names += [text for row in rejects for text in (row.path, row.message)] + [hostile("model"), hostile("split")]
    assert max(map(len, names)) <= TEXT
    endless = rows[0]._replace(path="long" * 1000, image_id="id" * 1000)
    triage = _triage(run, [*rows, *rejects, endless])
    names += ["…" + endless.path[1 - TEXT :], endless.image_id[: TEXT - 1] + "…"]
    summary = _summary(
        triage,
        models=[{"path": hostile("model"), "fingerprint": "", "metrics": {hostile("split"): {"n": 3}}}],
    )
    pictures = {row.path: (_jpeg((9, 9, 9)), _jpeg((9, 9, 9))) for row in rows}
    html = triage_page(run, summary, triage, pictures).decode()
    page = tmp_path / "page.html"
    page.write_bytes(html.encode())
    tree = parse(dump_dom(page))
    assert set(names) <= {name.text() for name in tree.find("bdi")}
    assert {"script", "link", "iframe", "object", "embed", "form"}.isdisjoint(element.tag for element in tree)
    assert len(tree.find("img")) == 8
    assert [title.text() for title in tree.find("title")] == ["Triage report"]
    # Even markup that got in could not load anything: the page's policy forbids it.
    page.write_bytes(html.replace("</main>", f"<img src={address}/inside></main>").encode())
    dump_dom(page)
    assert asked == []
    page.write_text(f"<img src={address}/free>")
    dump_dom(page)
    assert asked == ["/free"]

    # Nothing makes the page wider than a phone.
    measure = "document.body.dataset.widths = [contentDocument.documentElement.scrollWidth, contentWindow.innerWidth]"
    page.write_text(f'<iframe width="400" srcdoc="{escape(html)}" onload="{measure}"></iframe>', newline="")
    (body,) = parse(dump_dom(page)).find("body")
    assert body.attributes["data-widths"] == "400,400"


def test_flagged_images_and_what_is_known_of_the_threshold(run: ScoringRun) -> None:
    rows = _rows(12)
    threshold = float(np.median([malignancy_score(row, CLASSES, MALIGNANT) for row in rows]))
    point = OperatingPoint(0.95, threshold, 0.96, 0.41, 50, 1234)
    known, given = Flagging(threshold, 0.95, (point,)), Flagging(threshold)
    models = [{"path": "model", "fingerprint": "a1", "metrics": {}}]
    for flagging, says in (
        (known, "sensitivity 0.960 (of 50 malignant images), specificity 0.410 (of 1,234 others)"),
        (Flagging(threshold, 0.95, (point._replace(specificity=None),)), "sensitivity 0.960 (of 50 malignant images)."),
        (Flagging(threshold, 0.95, (point, point)), "mean of the models' own and was not validated"),
        (given, "The threshold was given; how good it is is not known."),
    ):
        chosen = models * len(flagging.points)
        tree = _page(run._replace(flagging=flagging), rows, flag=flagging.describe(6), models=chosen)
        text = tree.text()
        assert f"6 images flagged: malignancy score of {threshold:.4g} or more." in text
        assert says in text
        flagged = ["flagged" in card.text() for card in tree.find("article")]
        assert flagged == [True] * 6 + [False] * 6
    assert "flagged" not in _page(run, rows, flag=None).text()


@pytest.mark.parametrize("width", [1200, 420])
def test_a_browser_shows_image_and_overlay_side_by_side(run: ScoringRun, tmp_path: Path, width: int) -> None:
    triage = _triage(run, _rows(1))
    colours = ((250, 0, 250), (0, 250, 0))
    page, png = tmp_path / "page.html", tmp_path / "page.png"
    pictures: dict[str, Any] = {triage.top[0].path: tuple(map(_jpeg, colours))}
    page.write_bytes(triage_page(run, _summary(triage), triage, pictures))
    screenshot(page, png, width, 3000)
    pixels = np.asarray(Image.open(png).convert("RGB")).astype(int)
    shown = [np.argwhere(np.abs(pixels - colour).max(axis=2) < 12) for colour in colours]
    assert all(len(places) > 5000 for places in shown)
    (top, left), (other_top, other_left) = (places.min(axis=0) for places in shown)
    assert abs(top - other_top) <= 1
    assert left < other_left


def test_the_page_stays_below_its_bound(tmp_path: Path) -> None:
    count = 1000
    # The costliest character: seen by its number only.
    long = "\u202e" * 5000
    classes = [f"class {index:02} of forty characters{'':9}" for index in range(30)]
    assert {len(name) for name in classes} == {37}
    run = _run(tmp_path / "model", classes, classes[:5])
    rows = _rows(count, f"{long}{{}}", classes=len(classes))
    rows = [row._replace(image_id=long, by_model=(row.probabilities, row.probabilities[::-1])) for row in rows]
    reasons = ("empty_file", "not_an_image", "too_large", "undecodable", "unreadable", "unsupported_format")
    rows += [row for reason in reasons for row in _rejects(20, reason, long)]
    triage = _triage(run, rows, count)
    # Noise is what JPEG stores worst.
    random = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (400, 400, 3), np.uint8)).save(buffer, "PNG")
    heat = random.normal(size=(7, 7)).astype(np.float32)
    noise = triage_pictures(buffer.getvalue(), heat, 160, "crop")
    html = triage_page(run, _summary(triage), triage, {row.path: noise for row in triage.top})
    assert len(triage.top) == count
    assert len(html) < count * IMAGE_BYTES + PAGE_BYTES
    # Cut names say so, and keep what tells them apart.
    tree = parse(triage_page(run, _summary(triage), triage._replace(top=triage.top[:3]), {}).decode())
    paths = [_of_class(card, "path")[0].text() for card in tree.find("article")]
    assert [(path[0], len(path)) for path in paths] == [("…", TEXT)] * 3
    assert len(set(paths)) == 3
