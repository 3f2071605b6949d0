"""Labels that leave several classes open are judged on the sum, as the challenges do."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from isic_challenge_scoring.metrics import balanced_multiclass_accuracy

from pipelines.domain.diagnoses import CLASS_SETS
from pipelines.domain.taxonomy import malignant_classes
from pipelines.score.challenge import challenge_for
from pipelines.score.submission import submission_bytes
from tests.support.score_row_maker import score_row, scoring_run
from trainer.evaluate.figures import describe
from trainer.evaluate.judgement import Judgement, join_classes, judge
from trainer.evaluate.label_tables import read_labels
from trainer.evaluate.predictions import GroundTruth, Predictions

CLASSES = CLASS_SETS["isic9"]
MALIGNANT = malignant_classes(CLASSES)
AK, SCC, PBK, SK, NEVUS = map(
    CLASSES.index,
    ("actinic keratosis", "squamous cell carcinoma", "pigmented benign keratosis", "seborrheic keratosis", "nevus"),
)


def labelled(labels: list[int], vague: tuple[tuple[int, ...], ...], probabilities: np.ndarray) -> Predictions:
    ids = [f"ISIC_{number:07}" for number in range(len(labels))]
    empty = [""] * len(ids)
    truth = GroundTruth(ids, empty, empty, ids, np.array(labels), vague)
    return Predictions(truth, probabilities, None, np.full(len(CLASSES), 1 / len(CLASSES)), None)


def sure_of(labels: list[int]) -> np.ndarray:
    return np.where(np.eye(len(CLASSES), dtype=bool)[labels], 0.92, 0.01).astype(np.float32)


def judged(
    labels: list[int], vague: tuple[tuple[int, ...], ...], predicted: list[int]
) -> tuple[Predictions, Judgement]:
    predictions = join_classes(labelled(labels, vague, sure_of(predicted))).predictions
    return predictions, judge(predictions, CLASSES, MALIGNANT)


def figures(predictions: Predictions, judgement: Judgement, bootstrap: int = 0) -> dict:
    return describe(predictions.truth, judgement, {}, (), bootstrap=bootstrap, seed=0)["figures"]


def test_classes_are_joined_where_a_label_leaves_them_open_and_only_there() -> None:
    predictions, vague_labels = join_classes(labelled([9, 9, PBK, NEVUS], ((SK, PBK), (AK, SCC)), sure_of([0] * 4)))
    assert (predictions.joined, vague_labels) == (((PBK, SK),), {(PBK, SK): 2})
    assert predictions.truth.labels.tolist() == [PBK, PBK, PBK, NEVUS]
    precise = join_classes(labelled([PBK, SK], ((PBK, SK),), sure_of([0, 0])))
    assert (precise.predictions.joined, precise.vague_labels) == ((), {})
    assert precise.predictions.truth.labels.tolist() == [PBK, SK]


def test_classes_that_overlap_are_joined_to_one() -> None:
    predictions, vague_labels = join_classes(labelled([9, 10, 9], ((AK, SCC), (AK, PBK)), sure_of([0] * 3)))
    assert (predictions.joined, vague_labels) == (((AK, PBK, SCC),), {(AK, PBK, SCC): 3})


def test_either_class_of_a_vague_label_is_right() -> None:
    predictions, judgement = judged([9, 9, NEVUS], ((PBK, SK),), [PBK, SK, NEVUS])
    found = figures(predictions, judgement)
    assert found["balanced_accuracy"]["value"] == 1.0
    name = "pigmented benign keratosis or seborrheic keratosis"
    assert (found["per_class"][name]["n"], found["per_class"][name]["sensitivity"]["value"]) == (2, 1.0)
    assert len(found["confusion_matrix"]) == len(CLASSES) - 1


@pytest.mark.parametrize("year", ["2018", "2019"])
def test_balanced_accuracy_is_that_of_the_challenge_for_the_submission(year: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(25)
    run = scoring_run(CLASSES, prior=(0.05, 0.1, 0.05, 0.15, 0.3, 0.2, 0.05, 0.05, 0.05))
    challenge = challenge_for(CLASSES, year)
    columns = [name for name in challenge.columns if name != "UNK"]
    count = 40 * len(columns)
    probabilities = rng.dirichlet(np.full(len(CLASSES), 0.3), count).astype(np.float32)
    ids = [f"ISIC_{number:07}" for number in range(count)]
    shown = [columns[number % len(columns)] for number in range(count)]
    table = pd.DataFrame({"image": ids, **{name: [float(one == name) for one in shown] for name in columns}})
    table.to_csv(tmp_path / "truth.csv", index=False)
    rows = [
        score_row(f"{name}.jpg", run, image_id=name, probabilities=tuple(map(float, line)))
        for name, line in zip(ids, probabilities, strict=True)
    ]
    submission = pd.read_csv(io.BytesIO(submission_bytes(rows, run, challenge)), index_col="image")
    expected = balanced_multiclass_accuracy(
        table.set_index("image"), submission[columns], pd.Series(np.ones(count), index=table["image"])
    )
    truth = read_labels(tmp_path / "truth.csv", CLASSES, {}).truth
    predictions = join_classes(Predictions(truth, probabilities, None, np.array(run.prior), None)).predictions
    found = figures(predictions, judge(predictions, CLASSES, MALIGNANT))
    assert found["balanced_accuracy"]["value"] == pytest.approx(expected, abs=1e-12)


def test_images_of_a_partly_malignant_class_are_in_no_figure_of_malignancy() -> None:
    melanoma = CLASSES.index("melanoma")
    rest = [melanoma, melanoma, NEVUS, NEVUS, NEVUS]
    vague = ((AK, SCC),)
    with_them, without = judged([9, 9, SCC, *rest], vague, [SCC, AK, AK, *rest]), judged(rest, (), rest)
    assert with_them[1].partly_malignant == ("actinic keratosis or squamous cell carcinoma",)
    assert "squamous cell carcinoma" not in with_them[1].malignant
    for bootstrap in (0, 50):
        found, expected = (figures(*one, bootstrap=bootstrap) for one in (with_them, without))
        assert found["malignant_auc"]["value"] == expected["malignant_auc"]["value"] == 1.0
        assert found["malignant_auc"]["n"] == 2
        assert found["sensitivity_at_specificity"]["malignant"]["n"] == 2
    mistakes = describe(with_them[0].truth, with_them[1], {}, (), bootstrap=0, seed=0)["mistakes"]
    assert (mistakes["missed"], mistakes["false_alarms"]) == ([], [])


def test_the_malignancy_score_has_all_malignant_classes_in_it() -> None:
    _, judgement = judged([9, NEVUS], ((AK, SCC),), [SCC, NEVUS])
    assert judgement.malignancy.score.tolist() == pytest.approx([0.92 + 2 * 0.01, 3 * 0.01])
    assert judgement.malignancy.known is not None
    assert judgement.malignancy.known.tolist() == [False, True]
