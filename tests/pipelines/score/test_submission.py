"""Submissions to ISIC challenges, held against the challenge's own scorer."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path

import numpy as np
import pytest

from pipelines.common.cli import UsageError
from pipelines.common.text import printable
from pipelines.domain.diagnoses import CLASS_SETS
from pipelines.score.challenge import Challenge, challenge_for
from pipelines.score.score_row import ScoreRow, ScoringRun
from pipelines.score.submission import submission_bytes
from tests.support.challenge_scorer import scorer, write_truth
from tests.support.score_row_maker import HOSTILE_PATHS, score_row, scoring_run

HEADER_2018 = ["image", "MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
HEADER_2019 = ["image", "MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]


def lines_of(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def sure_of(image_id: str, name: str, run: ScoringRun, wrong: float = 0.0) -> ScoreRow:
    """A row whose model gives a class all but `wrong`, which goes evenly to the others."""
    rest = wrong / (len(run.classes) - 1)
    values = tuple(float(np.float32(1 - wrong if other == name else rest)) for other in run.classes)
    return score_row(f"night/{image_id}.jpg", run, image_id=image_id, probabilities=values)


def scored_rows(run: ScoringRun, challenge: Challenge) -> tuple[list[ScoreRow], dict[str, str]]:
    """Six images of each class, which the model recognises, and the column that is true of each."""
    rows, shown = [], {}
    for label, name in enumerate(run.classes):
        column = next(
            column for column, labels in zip(challenge.columns, challenge.labels, strict=True) if label in labels
        )
        for number in range(6):
            image_id = f"ISIC_{1000 + 10 * label + number:07d}"
            shown[image_id] = column
            rows.append(sure_of(image_id, name, run, wrong=0.2))
    random.Random(0).shuffle(rows)
    return rows, shown


@pytest.mark.parametrize(
    ("class_set", "year", "header"),
    [("ham7", "", HEADER_2018), ("isic9", "2018", HEADER_2018), ("isic2019", "", HEADER_2019)],
)
def test_the_scorer_takes_a_submission_as_it_is(class_set: str, year: str, header: list[str], tmp_path: Path) -> None:
    run = scoring_run(CLASS_SETS[class_set])
    challenge = challenge_for(run.classes, year)
    rows, shown = scored_rows(run, challenge)
    if "UNK" in header:
        # The scorer fails on a truth in which a class has no image at all.
        shown["ISIC_0009999"] = "UNK"
        rows.append(sure_of("ISIC_0009999", "melanoma", run))
    data = submission_bytes(rows, run, challenge)
    assert len(lines_of(data)) - 1 == len(rows)
    assert lines_of(data)[0] == header
    assert [line[0] for line in lines_of(data)[1:]] == sorted(shown)
    done = scorer(tmp_path, write_truth(tmp_path / "truth.csv", header, shown), data)
    assert done.returncode == 0, done.stderr
    # Every class is right but UNK, which the model does not have.
    assert json.loads(done.stdout)["overall"] == pytest.approx(8 / 9 if "UNK" in header else 1.0)


def test_the_scorer_tells_a_bad_submission_and_one_with_images_missing(tmp_path: Path) -> None:
    run = scoring_run(CLASS_SETS["ham7"])
    challenge = challenge_for(run.classes)
    rows, shown = scored_rows(run, challenge)
    truth = write_truth(tmp_path / "truth.csv", HEADER_2018, shown)
    wrong = [row._replace(probabilities=row.probabilities[1:] + row.probabilities[:1]) for row in rows]
    assert json.loads(scorer(tmp_path, truth, submission_bytes(wrong, run, challenge)).stdout)["overall"] == 0
    short = scorer(tmp_path, truth, submission_bytes(rows[1:], run, challenge))
    assert short.returncode == 1
    assert "Missing images in CSV" in short.stderr


def test_the_scorer_takes_the_training_images_of_2018(shared_data: Path, tmp_path: Path) -> None:
    table = (shared_data / "tables" / "ISIC2018_Task3_Training_GroundTruth.csv").read_text().splitlines()
    truth = tmp_path / "truth.csv"
    truth.write_text("\n".join([table[0], *table[1::10]]) + "\n")
    column_of = {"MEL": "mel", "NV": "nv", "BCC": "bcc", "AKIEC": "akiec", "BKL": "bkl", "DF": "df", "VASC": "vasc"}
    header = table[0].split(",")
    shown = {line.split(",")[0]: header[line.split(",").index("1.0")] for line in table[1::10]}
    run = scoring_run(CLASS_SETS["ham7"])
    # All melanomas are taken for nevi, all others are seen for what they are.
    seen = {image: "NV" if column == "MEL" else column for image, column in shown.items()}
    rows = [sure_of(image, column_of[column], run, wrong=0.3) for image, column in seen.items()]
    data = submission_bytes(reversed(rows), run, challenge_for(run.classes))
    done = scorer(tmp_path, truth, data)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["overall"] == pytest.approx(6 / 7)


def test_classes_of_the_model_are_added_up_to_the_challenges(tmp_path: Path) -> None:
    run = scoring_run()
    probabilities = dict(zip(run.classes, (0.25, 0.0, 0.0, 0.0, 0.0, 0.125, 0.5, 0.125, 0.0), strict=True))
    row = score_row("ISIC_0000001.jpg", run, probabilities=tuple(probabilities.values()))
    header, line = lines_of(submission_bytes([row], run, challenge_for(run.classes, "2018")))
    assert dict(zip(header, line, strict=True)) == {
        **{"image": "ISIC_0000001", "MEL": "0.0", "NV": "0.0", "BCC": "0.0", "AKIEC": "0.375", "BKL": "0.625"},
        **{"DF": "0.0", "VASC": "0.0"},
    }
    header, line = lines_of(submission_bytes([row], run, challenge_for(run.classes)))
    assert dict(zip(header, line, strict=True)) == {
        **{"image": "ISIC_0000001", "MEL": "0.0", "NV": "0.0", "BCC": "0.0", "AK": "0.25", "BKL": "0.625"},
        **{"DF": "0.0", "VASC": "0.0", "SCC": "0.125", "UNK": "0.0"},
    }


def test_a_sum_that_rounding_took_past_one_is_one() -> None:
    run = scoring_run()
    over = float(np.nextafter(np.float32(1.0), np.float32(0.0))), float(np.float32(1e-6))
    row = score_row("a", run, probabilities=(0.0,) * 5 + over + (0.0, 0.0))
    assert lines_of(submission_bytes([row], run, challenge_for(run.classes)))[1][5] == "1.0"


def test_a_model_may_name_its_classes_otherwise() -> None:
    classes = ("Naevus", "MEL", "bcc", "solar keratosis", "seborrhoeic keratosis", "solar lentigo", "df", "angioma")
    assert challenge_for(classes).name == "ISIC 2018 task 3"
    assert challenge_for((*classes, "scc", "unknown"))[:2] == ("ISIC 2019", tuple(HEADER_2019[1:]))
    assert challenge_for((*classes, "scc", "unknown")).labels[-2:] == ((8,), (9,))


@pytest.mark.parametrize(
    ("classes", "year", "words"),
    [
        (("benign", "malignant"), "", "--submission: the model's classes (benign, malignant) do not fit ISIC 2019 or"),
        (CLASS_SETS["ham7"], "2019", "--submission 2019: the model's classes (akiec, bcc, bkl, df, mel, nv, vasc)"),
        ((*CLASS_SETS["ham7"], "scar"), "", "scar) do not fit ISIC 2019 or ISIC 2018 task 3; score with a model of"),
        (CLASS_SETS["isic2019"][1:], "", "(nevus, "),
    ],
)
def test_a_model_that_fits_no_challenge_is_refused(classes: tuple[str, ...], year: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        challenge_for(classes, year)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_of_files_with_one_id_the_smallest_path_counts() -> None:
    run = scoring_run(CLASS_SETS["ham7"])
    challenge = challenge_for(run.classes)
    rows = [score_row(f"{folder}/ISIC_{n:07d}.jpg", run) for folder in "cab" for n in range(4)]
    rows.append(score_row("alone/lesion 1.jpg", run))
    data = submission_bytes(rows, run, challenge)
    assert len(rows) - (len(lines_of(data)) - 1) == 8
    assert data == submission_bytes(rows[::-1], run, challenge)
    chosen = [row for row in rows if row.path.startswith("a")]
    assert data == submission_bytes(chosen, run, challenge)
    assert [line[0] for line in lines_of(data)[1:]] == [*(f"ISIC_{n:07d}" for n in range(4)), "lesion 1"]


def test_ids_may_be_anything() -> None:
    run = scoring_run(CLASS_SETS["ham7"])
    rows = [score_row(path, run, image_id=path) for path in HOSTILE_PATHS]
    header, *lines = lines_of(submission_bytes(rows, run, challenge_for(run.classes)))
    assert header == HEADER_2018
    assert [line[0] for line in lines] == [printable(path) for path in sorted(HOSTILE_PATHS)]


def test_no_row_and_a_row_without_scores() -> None:
    run = scoring_run(CLASS_SETS["ham7"])
    challenge = challenge_for(run.classes)
    assert lines_of(submission_bytes([], run, challenge)) == [HEADER_2018]
    for values in ((), (float("nan"), *[0.0] * 6)):
        with pytest.raises(ValueError, match="must be rejected"):
            submission_bytes([score_row("a", run, probabilities=values)], run, challenge)
