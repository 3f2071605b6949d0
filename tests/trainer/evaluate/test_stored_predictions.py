"""Tables of predictions made before: which files count, what they hold, and what is wrong with one."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.common.cli import UsageError
from tests.support.simulated_predictions import CLASSES
from trainer.evaluate.matching import match_labels
from trainer.evaluate.predictions import Predictions
from trainer.evaluate.stored_predictions import own_labels, prediction_files, read_stored_predictions


def test_what_an_evaluation_wrote_is_read_back(stored: Path, predictions: Predictions) -> None:
    found = read_stored_predictions(stored)
    assert found.classes == CLASSES
    assert np.array_equal(found.probabilities, predictions.probabilities)
    assert found.image_id == predictions.truth.source_id
    assert (found.models, found.views) == (("m" * 64,), "one_view")
    assert np.array_equal(found.prior, predictions.prior)
    truth = own_labels(found)
    assert truth.labels.tolist() == predictions.truth.labels.tolist()
    assert truth.group_id == predictions.truth.group_id


def test_labels_are_matched_in_their_own_order(stored: Path, predictions: Predictions) -> None:
    found = read_stored_predictions(stored)
    truth = own_labels(found)
    few = type(truth)(*(values[5:2:-1] for values in vars(truth).values()))
    matched, counts = match_labels(found, few)
    assert matched.truth.source_id == predictions.truth.source_id[5:2:-1]
    assert np.array_equal(matched.probabilities, predictions.probabilities[5:2:-1])
    assert (counts.matched, counts.scored_without_label, counts.labelled_without_score) == (3, 87, 0)


def test_files_are_found_at_any_depth_but_not_those_of_an_unfinished_run(stored: Path, tmp_path: Path) -> None:
    assert prediction_files(stored) == [stored]
    finished, unfinished, hidden = (tmp_path / name for name in ("2024/01", "2024/02", ".unfinished/03"))
    for folder in (finished, unfinished, hidden):
        folder.mkdir(parents=True)
        shutil.copy(stored, folder / "scores-00000-of-00001.parquet")
    for folder in (finished, hidden):
        (folder / "_summary.json").write_text("{}")
    assert prediction_files(tmp_path) == [finished / "scores-00000-of-00001.parquet"]


def test_a_folder_without_predictions_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--predictions {tmp_path}: holds neither .* nor predictions.parquet; name"):
        prediction_files(tmp_path)
    with pytest.raises(UsageError, match="missing: no such file or folder"):
        prediction_files(tmp_path / "missing")


def written(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"source_id": ["a"], "probability_a": [1.0]}, "needs a column .* and two or more probability_CLASS"),
        ({"source_id": ["a"], "probability_a": [3.0], "probability_b": [-2.0]}, "1 images are no probabilities"),
        ({"source_id": ["a"], "probability_a": [None], "probability_b": [1.0]}, "missing or not finite"),
        ({"source_id": ["a"], "probability_a": ["x"], "probability_b": ["y"]}, "a probability is no number"),
        ({"source_id": pa.array([], pa.string()), "probability_a": [], "probability_b": []}, "a probability|no image"),
    ],
)
def test_what_is_no_table_of_predictions_is_explained(tmp_path: Path, columns: dict[str, Any], says: str) -> None:
    path = written(tmp_path / "table.parquet", **columns)
    with pytest.raises(UsageError, match=says) as error:
        read_stored_predictions(path)
    assert f"--predictions {path}: " in str(error.value)
    assert "\n" not in str(error.value)


def test_columns_of_single_models_and_of_other_classes(tmp_path: Path) -> None:
    columns = {
        "image_id": ["a"],
        "probability_nevus": [0.25],
        "probability_skin_tag": [0.75],
        "probability_nevus__2": [1],
    }
    path = written(tmp_path / "table.parquet", **columns)
    assert read_stored_predictions(path).classes == ("nevus", "skin tag")
    assert read_stored_predictions(path, ["nevus", "skin tag"]).classes == ("nevus", "skin tag")
    with pytest.raises(UsageError, match=r"its 2 classes are not the 2 that are .* \(difference: melanoma, skin"):
        read_stored_predictions(path, ["nevus", "melanoma"])


def test_rows_come_in_the_order_in_which_they_were_scored(tmp_path: Path) -> None:
    hours = {"run=v10": (2, 1), "run=v2": (1,)}
    for run, scored in hours.items():
        folder = tmp_path / run
        folder.mkdir()
        (folder / "_summary.json").write_text("{}")
        times = [datetime.datetime(2026, 1, 1, hour, tzinfo=datetime.UTC) for hour in scored]
        written(
            folder / "scores-00000-of-00001.parquet",
            image_id=[f"{run} at {hour}" for hour in scored],
            probability_a=[0.5] * len(scored),
            probability_b=[0.5] * len(scored),
            scored_at=pa.array(times, pa.timestamp("us", "UTC")),
        )
    assert read_stored_predictions(tmp_path).image_id == ["run=v10 at 1", "run=v2 at 1", "run=v10 at 2"]


def test_a_label_of_joined_classes_is_vague(tmp_path: Path) -> None:
    columns = {"class": ["x y or z", "w"], "probability_w": [0.5] * 2, "probability_x_y": [0.25] * 2}
    path = written(tmp_path / "t.parquet", source_id=["a", "b"], **columns, probability_z=[0.25] * 2)
    found = read_stored_predictions(path)
    assert found.classes == ("w", "x y", "z")
    truth = own_labels(found)
    assert (truth.labels.tolist(), truth.vague) == ([3, 0], ((1, 2),))


def test_an_image_with_two_rows_has_no_label_of_its_own(tmp_path: Path) -> None:
    path = written(
        tmp_path / "t.parquet",
        source_id=["a", "a"],
        **{"class": ["x", "x"], "probability_x": [0.5, 0.5], "probability_y": [0.5, 0.5]},
    )
    with pytest.raises(UsageError, match=r"has a twice \(1 such images\); name one evaluation"):
        own_labels(read_stored_predictions(path))
