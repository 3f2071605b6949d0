"""The report of an evaluation: the page in a browser, the Markdown, the pictures with maps, the curves."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn.metrics
import tensorflow as tf
from PIL import Image

from pipelines.common.cli import UsageError
from pipelines.domain.taxonomy import melanoma_class
from tests.support.browser import dump_dom, parse, screenshot
from tests.support.commands import besides_progress
from tests.support.documents import change_model
from tests.support.stored_scores import stored_scores
from tests.support.tiny_dataset import CLASSES, deal_into_folds
from trainer.data.dataset_info import fold_split, read_dataset_info
from trainer.data.originals import read_originals
from trainer.evaluate import command as evaluate_command
from trainer.evaluate.matching import match_labels
from trainer.evaluate.mistakes import worst_mistakes
from trainer.evaluate.predictions import GroundTruth
from trainer.evaluate.stored_predictions import StoredPredictions
from trainer.export.loaded_model import LoadedModel, read_model_info
from trainer.metrics.roc_pr_curves import rank_curves


@pytest.fixture(scope="module")
def mislabelled(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny dataset, in which the first test image of each class is called the next one: so there are mistakes."""
    copy = shutil.copytree(dataset, tmp_path_factory.mktemp("mislabelled") / "dataset")
    for shard in sorted(copy.glob("test-*.tfrecord")):
        records = [tf.train.Example.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(shard))]
        with tf.io.TFRecordWriter(str(shard)) as writer:
            for example in records:
                features = example.features.feature
                if features["image/source_id"].bytes_list.value[0].endswith(b"-2000"):
                    label = (features["image/class/label"].int64_list.value[0] + 1) % len(CLASSES)
                    features["image/class/label"].int64_list.value[0] = label
                    features["image/class/text"].bytes_list.value[0] = CLASSES[label].encode()
                writer.write(example.SerializeToString())
    return copy


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of whom the test images were taken: all but the first one of each class."""
    rows = [
        f"test-{label}-{index},{20 * index - 39990},{('male', 'female')[index % 2]},Trunk"
        for label in range(len(CLASSES))
        for index in range(2001, 2005)
    ]
    path = tmp_path_factory.mktemp("metadata") / "metadata.csv"
    path.write_text("\n".join(["isic_id,age_approx,sex,anatom_site_1", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def evaluated(mislabelled: Path, trained: Path, metadata: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the command with everything that it can be asked for."""
    output = tmp_path_factory.mktemp("evaluated") / "out"
    arguments = ["--dataset", mislabelled, "--model", trained / "model", "--output", output, "--metadata", metadata]
    command = [sys.executable, "-m", "trainer.evaluate", *map(str, arguments), "--tta", "--bootstrap", "50"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, besides_progress(done.stderr)) == (0, [])
    return output


@pytest.fixture(scope="module")
def summary(evaluated: Path) -> dict[str, Any]:
    return json.loads((evaluated / "evaluation.json").read_text())


def test_the_page_says_what_the_summary_says(evaluated: Path, summary: dict[str, Any]) -> None:
    page = parse((evaluated / "report.html").read_text())
    sections = {one.attributes.get("id"): one for one in page.find("section")}
    value = summary["figures"]["balanced_accuracy"]["value"]
    assert f"{value:.3f}" in sections["figures"].text()
    # The count comes first in a cell, then a line break and its share.
    rows = [row.find("td") for row in sections["confusion"].find("tbody")[0].find("tr")]
    assert [
        [int(str(cell.content[0])) if len(cell.content) > 1 else 0 for cell in row[:-1]] for row in rows
    ] == summary["figures"]["confusion_matrix"]
    assert [int(row[-1].text()) for row in rows] == [5] * len(CLASSES)
    assert len(sections["curves"].find("svg")) == 2 * len(CLASSES)
    assert all(svg.attributes["aria-label"] for svg in page.find("svg"))
    assert f"{summary['calibration']['expected_calibration_error']:.3f}" in sections["calibration"].text()
    assert "45 to 59" in sections["subgroups"].text()
    assert "too few lesions" in sections["subgroups"].text()
    assert "mean over eight flips and quarter turns" in sections["origin"].text()
    # The model brings operating points, chosen on its validation images.
    assert len(sections["operating"].find("tbody")[0].find("tr")) == len(summary["operating_points"]) > 0


def test_the_page_loads_nothing_and_every_picture_has_words(evaluated: Path) -> None:
    text = (evaluated / "report.html").read_text()
    assert not re.search(r"https?:|//[a-z]|@import|<script|<link|url\(", text)
    page = parse(text)
    assert all(image.attributes["src"].startswith("data:image/jpeg;base64,") for image in page.find("img"))
    assert all(image.attributes["alt"] for image in page.find("img"))
    assert all(cell.attributes.get("scope") for cell in page.find("th"))


def test_each_mistake_has_its_picture_and_its_map(evaluated: Path, summary: dict[str, Any]) -> None:
    page = parse((evaluated / "report.html").read_text())
    assert [one["source_id"] for one in summary["mistakes"]["missed"]] == ["test-0-2000"]
    assert [one["source_id"] for one in summary["mistakes"]["false_alarms"]] == ["test-1-2000"]
    cards = page.find("article")
    assert len(cards) == sum(map(len, summary["mistakes"].values()))
    assert all(len(card.find("img")) == 2 for card in cards)


@pytest.mark.parametrize("width", [400, 1200])
def test_a_browser_shows_the_page(evaluated: Path, tmp_path: Path, width: int) -> None:
    assert "Balanced accuracy" in dump_dom(evaluated / "report.html")
    screenshot(evaluated / "report.html", tmp_path / "page.png", width, 1600)
    with Image.open(tmp_path / "page.png") as picture:
        # Something is drawn: more than the few colours of an empty page.
        colours = picture.convert("RGB").getcolors(1 << 24)
        assert colours is not None
        assert len(colours) > 50


def test_the_markdown_is_tables_of_even_rows(evaluated: Path, summary: dict[str, Any]) -> None:
    lines = (evaluated / "report.md").read_text().splitlines()
    blocks = "\n".join(line if line.startswith("|") else "" for line in lines).split("\n\n")
    tables = [block.strip().splitlines() for block in blocks if block.strip()]
    assert len(tables) >= 6
    for rows in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
        assert set(rows[1]) <= set("|-: ")
    headings = [line for line in lines if line.startswith("#")]
    assert headings[0] == "# Evaluation"
    assert "## Confusion matrix" in headings
    assert f"| Balanced accuracy | {summary['figures']['balanced_accuracy']['value']:.3f} (" in "\n".join(lines)


def test_subgroups_are_joined_by_id(summary: dict[str, Any]) -> None:
    assert summary["metadata"]["matched"] == 16
    ages = {row["group"]: row["n"] for row in summary["subgroups"][0]["groups"]}
    assert list(ages) == ["30 to 44", "45 to 59", "60 to 74", "75 and over", "unknown"]
    assert set(ages.values()) == {4}
    assert [(row["group"], row["n"]) for row in summary["subgroups"][1]["groups"]] == [
        ("female", 8),
        ("male", 8),
        ("unknown", 4),
    ]
    trunk, unknown = summary["subgroups"][2]["groups"]
    # Only the images without metadata have wrong labels.
    assert (trunk["group"], trunk["n"], trunk["balanced_accuracy"]["value"]) == ("trunk", 16, 1.0)
    assert (trunk["sensitivity"]["value"], trunk["sensitivity"]["n"]) == (1.0, 4)
    assert (unknown["group"], unknown["few"]) == ("unknown", True)


def test_views_are_averaged_over_the_symmetries_of_what_the_model_sees(dataset: Path, trained: Path) -> None:
    """The model's own transform gives the pixels of a record, and the eight views are those of the score job."""
    info = read_dataset_info(dataset)
    network = LoadedModel(read_model_info(trained / "model"))
    encoded = next(read_originals(info, "test", 6))["image/encoded"]
    one = network.probabilities(encoded, tta=False)
    classify = tf.saved_model.load(str(trained / "model")).signatures["classify"]
    pixels = network.pixels(encoded).numpy()
    np.testing.assert_allclose(classify(image=tf.constant(pixels))["probabilities"], one, atol=1e-6)
    views = [np.rot90(side, turns, axes=(1, 2)) for side in (pixels, pixels[:, :, ::-1]) for turns in range(4)]
    each = [classify(image=tf.constant(np.ascontiguousarray(view)))["probabilities"] for view in views]
    np.testing.assert_allclose(network.probabilities(encoded, tta=True), np.mean(each, axis=0), atol=1e-6)
    assert np.ptp(each, axis=0).max() > 1e-3


def options(**values: Any) -> evaluate_command.EvaluateOptions:
    given: dict[str, Any] = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    return evaluate_command.EvaluateOptions(**given)


def test_a_fold_is_evaluated_on_its_originals(
    dataset: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folded = shutil.copytree(dataset, tmp_path / "dataset")
    deal_into_folds(folded, 3)
    result = evaluate_command.run(
        options(dataset=folded, model=trained / "model", output=tmp_path / "out", fold=1, bootstrap=0, allow_seen=True)
    )
    expected = fold_split(read_dataset_info(folded), 1).split("validation").originals
    assert (result["split"], result["fold"], result["images"]) == ("train", 1, expected)


@pytest.mark.parametrize(
    ("trained_with", "heading", "on_stderr"),
    [
        (-1, "The model was trained on this fold", "trained without --fold, so also on these images"),
        (0, "The model was trained on this fold", "trained with --fold 0, so also on these images"),
        (1, "The model was adjusted to these images", ""),
    ],
)
def test_a_fold_that_the_model_knows_is_refused_or_said(
    dataset: Path,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    trained_with: int | None,
    heading: str,
    on_stderr: str,
) -> None:
    folded, model = (shutil.copytree(place, tmp_path / place.name) for place in (dataset, trained / "model"))
    deal_into_folds(folded, 3)
    change_model(model, fold=trained_with)
    given = {"dataset": folded, "model": model, "output": tmp_path / "out", "fold": 1, "bootstrap": 0}
    if on_stderr:
        with pytest.raises(UsageError, match=f"--fold 1: the model was {on_stderr}; .*--allow_seen"):
            evaluate_command.run(options(**given))
    result = evaluate_command.run(options(**given, allow_seen=bool(on_stderr)))
    assert result["seen_images"] == (result["images"] if on_stderr else 0)
    assert (f"--fold 1: the model was {on_stderr}" in capsys.readouterr().err) == bool(on_stderr)
    assert all(heading in (tmp_path / "out" / name).read_text() for name in ("report.md", "report.html"))


def test_images_that_had_no_say_need_no_caution(evaluated: Path) -> None:
    assert 'bad-box" role' not in (evaluated / "report.html").read_text()
    assert (evaluated / "report.md").read_text().splitlines()[4].startswith("| Figure |")


def test_predictions_are_matched_with_a_dataset_and_the_model_only_draws(
    mislabelled: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = evaluate_command.run(
        options(dataset=mislabelled, model=trained / "model", output=tmp_path / "first", bootstrap=0)
    )
    again = evaluate_command.run(
        options(
            dataset=mislabelled,
            predictions=tmp_path / "first" / "predictions.parquet",
            model=trained / "model",
            output=tmp_path / "again",
            bootstrap=0,
        )
    )
    assert again["figures"] == first["figures"]
    assert again["matching"] == {
        "matched": 20,
        "scored_without_label": 0,
        "labelled_without_score": 0,
        "repeated": 0,
        "other_bytes": 0,
        "shared_ids": 0,
        "first_shared_ids": [],
    }
    pictures = [
        [image.attributes["src"] for image in parse((tmp_path / name / "report.html").read_text()).find("img")]
        for name in ("first", "again")
    ]
    assert pictures[0] == pictures[1] != []


def test_thresholds_are_those_of_the_views_that_were_scored(
    mislabelled: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"dataset": mislabelled, "model": trained / "model", "bootstrap": 0}
    first = evaluate_command.run(options(**places, tta=True, output=tmp_path / "first"))
    one_view = evaluate_command.run(options(**places, output=tmp_path / "one_view"))
    assert (first["views"], one_view["views"]) == ("eight_views", "one_view")
    scores = tmp_path / "first" / "predictions.parquet"
    again = evaluate_command.run(options(**places, predictions=scores, output=tmp_path / "again"))
    assert again["operating_points"] == first["operating_points"]
    assert again["operating_points"] != one_view["operating_points"]
    assert "| views | mean over eight flips and quarter turns |" in (tmp_path / "again" / "report.md").read_text()
    table = pq.read_table(scores)
    capsys.readouterr()
    # As it was written before the views were said.
    pq.write_table(table.replace_schema_metadata({"class_prior": table.schema.metadata[b"class_prior"]}), scores)
    unknown = evaluate_command.run(options(**places, predictions=scores, output=tmp_path / "unknown"))
    assert (unknown["views"], unknown["operating_points"]) == (None, [])
    assert "does not say whether it is of one view or of eight (--tta)" in capsys.readouterr().err


def test_images_of_the_training_are_refused_or_said(
    dataset: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained_on = {"dataset": dataset, "model": trained / "model", "split": "train", "bootstrap": 0}
    with pytest.raises(UsageError, match=r"--split train: the model was trained on these images; .*--allow_seen"):
        evaluate_command.run(options(**trained_on, output=tmp_path / "a"))
    evaluate_command.run(options(**trained_on, output=tmp_path / "a", allow_seen=True))
    scores = tmp_path / "a" / "predictions.parquet"
    evaluate_command.run(options(**trained_on, output=tmp_path / "b", predictions=scores, allow_seen=True))
    assert capsys.readouterr().err.count("warning: --split train: the model was trained on these images") == 2
    for name in ("a", "b"):
        assert "The model was trained on these images" in (tmp_path / name / "report.md").read_text()


def test_another_model_s_predictions_are_not_judged_by_its_thresholds(
    mislabelled: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate_command.run(options(dataset=mislabelled, model=trained / "model", output=tmp_path / "first", bootstrap=0))
    table = pq.read_table(tmp_path / "first" / "predictions.parquet")
    column = table.column_names.index("model_fingerprint")
    pq.write_table(table, tmp_path / "own.parquet")
    other = table.set_column(column, "model_fingerprint", pa.array(["0" * 64] * table.num_rows))
    pq.write_table(other, tmp_path / "other.parquet")
    capsys.readouterr()
    points = {}
    for name in ("own", "other"):
        result = evaluate_command.run(
            options(
                dataset=mislabelled,
                predictions=tmp_path / f"{name}.parquet",
                model=trained / "model",
                output=tmp_path / name,
                bootstrap=0,
            )
        )
        points[name] = len(result["operating_points"])
    assert points == {"own": 4, "other": 0}
    assert capsys.readouterr().err.count("its thresholds are left out") == 1


def scores(ids: list[str], contents: list[str]) -> StoredPredictions:
    return stored_scores(ids, contents, np.eye(2, dtype=np.float32)[np.arange(len(ids)) % 2])


def truth(ids: list[str], contents: list[str], labels: np.ndarray | None = None) -> GroundTruth:
    empty = [""] * len(ids)
    return GroundTruth(ids, contents, empty, list(ids), np.zeros(len(ids), np.int64) if labels is None else labels)


def test_matching_is_by_id_then_by_content() -> None:
    found, counts = match_labels(
        scores(["ISIC_1", "ISIC_1", "1", "1", "renamed", "other"], ["a", "b", "c", "d", "e", "f"]),
        # The id's own content is the second row; an id of two images says nothing; a renamed file is found by content.
        truth(["ISIC_1", "1", "1", "ISIC_5", "ISIC_6"], ["b", "d", "c", "e", "x"]),
    )
    assert found.truth.source_id == ["ISIC_1", "1", "1", "ISIC_5"]
    assert found.probabilities.argmax(axis=1).tolist() == [1, 1, 0, 0]
    assert (counts.matched, counts.repeated, counts.scored_without_label, counts.labelled_without_score) == (4, 1, 1, 1)
    assert counts.other_bytes == 0


def test_an_id_with_other_bytes_is_the_same_image_and_said() -> None:
    found, counts = match_labels(scores(["ISIC_1", "ISIC_2"], ["a", "b"]), truth(["ISIC_2", "ISIC_1"], ["z", "a"]))
    assert found.probabilities.argmax(axis=1).tolist() == [1, 0]
    assert counts.other_bytes == 1


def test_areas_under_the_curves_are_the_figures() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 3, 60)
    # Rounded, so that scores tie.
    probabilities = np.round(random.dirichlet([1, 1, 1], 60), 1)
    for index, curve in enumerate(rank_curves(labels, probabilities, ["a", "b", "c"])):
        positive, score = labels == index, probabilities[:, index]
        for line, figure in (
            (curve.roc, sklearn.metrics.roc_auc_score(positive, score)),
            (curve.precision_recall, sklearn.metrics.average_precision_score(positive, score)),
        ):
            x, y = np.array(line).T
            assert np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) == pytest.approx(figure)
    absent = rank_curves(np.zeros(3, int), np.eye(3), ["a", "b", "c"])
    assert (absent[0].roc, absent[1].roc, absent[1].precision_recall) == (None, None, None)


def test_worst_mistakes_come_first_and_lesions_once() -> None:
    known = GroundTruth(
        [f"image {number}" for number in range(5)],
        [""] * 5,
        [""] * 5,
        ["A", "A", "B", "C", "D"],
        np.array([0, 0, 0, 1, 1]),
    )
    probabilities = np.array([[0.2, 0.8], [0.1, 0.9], [0.4, 0.6], [0.7, 0.3], [0.1, 0.9]])
    found = worst_mistakes(known, probabilities, probabilities.argmax(axis=1), ["melanoma", "nevus"], ["melanoma"])
    assert [one["source_id"] for one in found["missed"]] == ["image 1", "image 2"]
    assert [one["source_id"] for one in found["false_alarms"]] == ["image 3"]
    assert [one["source_id"] for one in found["confident"]] == ["image 1", "image 3", "image 2"]


def test_melanoma_is_known_by_its_short_name() -> None:
    assert melanoma_class(["nv", "mel"]) == "mel"
    assert melanoma_class(["nevus", "Melanoma"]) == "Melanoma"
    assert melanoma_class(["nevus", "wart"]) is None
