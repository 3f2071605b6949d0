"""`python -m trainer.evaluate --predictions`: probabilities made before, labels from tables, figures known by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.common.cli import UsageError
from pipelines.domain.model_files import seal_model
from tests.support.commands import besides_progress
from tests.support.documents import model_document
from trainer.evaluate import command as evaluate_command
from trainer.export.train_images import TRAIN_IMAGES, train_images

CLASSES = ("basal cell carcinoma", "melanoma", "nevus")
# Of each scored image: id, true class (None: without a label), what the model says of the three classes.
SCORED = [
    ("ISIC_0000001", 1, (0.1, 0.7, 0.2)),
    ("ISIC_0000002", 1, (0.1, 0.1, 0.8)),
    ("ISIC_0000003", 2, (0.2, 0.2, 0.6)),
    ("ISIC_0000004", 2, (0.1, 0.6, 0.3)),
    ("ISIC_0000005", 2, (0.0, 0.0, 1.0)),
    ("ISIC_0000006", 0, (0.8, 0.1, 0.1)),
    ("ISIC_0000007", None, (0.3, 0.3, 0.4)),
]
TABLE = """isic_id,diagnosis_1,diagnosis_3,lesion_id,age_approx,sex,anatom_site_general
ISIC_0000001,Malignant,"Melanoma, NOS",IL_1,45,female,head/neck
ISIC_0000002,Malignant,Melanoma Invasive,IL_1,45,female,head/neck
ISIC_0000003,Benign,Nevus,IL_2,29,male,
ISIC_0000004,Benign,Nevus,,75,male,posterior torso
ISIC_0000005,Benign,Nevus,IL_4,,,
ISIC_0000006,Malignant,Basal cell carcinoma,IL_5,60,female,head/neck
ISIC_0000008,Benign,Nevus,IL_6,30,female,
ISIC_0000009,Benign,Wart,IL_7,30,female,
"""


def write_scores(path: Path, rows: list[tuple[Any, ...]] = SCORED, **more: Any) -> Path:
    """A Parquet file with the columns of pipelines.score that matter here, and `more` of them."""
    probabilities = np.array([row[2] for row in rows], np.float32)
    columns = {
        "path": [f"archive/{row[0]}.jpg" for row in rows],
        "image_id": [row[0] for row in rows],
        "sha256": [f"{number:064x}" for number in range(len(rows))],
        **{
            f"probability_{name.replace(' ', '_')}": pa.array(probabilities[:, index])
            for index, name in enumerate(CLASSES)
        },
        "top_class": [CLASSES[index] for index in probabilities.argmax(axis=1)],
        "model_fingerprint": ["f" * 64] * len(rows),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**columns, **more}), path)
    (path.parent / "_summary.json").write_text("{}")
    return path


def as_text(value: Any) -> Any:
    """An option as the command line gives it."""
    if isinstance(value, tuple):
        return tuple(map(str, value))
    return str(value) if isinstance(value, Path) else value


def run(tmp_path: Path, **options: Any) -> dict:
    options = {name: as_text(value) for name, value in options.items()}
    return evaluate_command.run(
        evaluate_command.EvaluateOptions(output=str(tmp_path / "out"), **{"bootstrap": 20, **options})
    )


def test_command_evaluates_an_archive_with_labels_without_the_model(tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "scores" / "run=2026-01-01" / "scores-00000-of-00001.parquet").parents[1]
    (tmp_path / "labels.csv").write_text(TABLE)
    code = (
        "import sys; from trainer.evaluate import command as evaluate; evaluate.main(sys.argv[1:]);"
        "assert not {'tensorflow', 'apache_beam'} & set(sys.modules), 'loaded what is not needed'"
    )
    arguments = ["--predictions", scores, "--labels", tmp_path / "labels.csv", "--output", tmp_path / "out"]
    result = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == 0
    left_out = "labels that stand for no class: 1 image ('Wart' 1); left out"
    gone = f"the model that made them ({'f' * 12}) is not to be found, so nothing says whether it was trained on these"
    assert besides_progress(result.stderr) == [
        f"warning: --predictions {scores}: {gone} images; name its folder by --model",
        f"warning: --labels {tmp_path / 'labels.csv'}: {left_out}",
    ]
    assert "| trained on these images | not known |" in (tmp_path / "out/report.md").read_text()
    assert r"| labels without a class | 1 image \('Wart' 1\) |" in (tmp_path / "out/report.md").read_text()
    assert result.stdout.startswith("balanced accuracy  0.722 (")

    summary = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert summary["classes"] == list(CLASSES)
    assert summary["malignant_classes"] == ["basal cell carcinoma", "melanoma"]
    assert summary["figures"]["confusion_matrix"] == [[1, 0, 0], [0, 1, 1], [0, 1, 2]]
    assert summary["figures"]["balanced_accuracy"]["value"] == pytest.approx((1 + 1 / 2 + 2 / 3) / 3)
    # Both melanomas against four others: 0.7 is above all of 0.2, 0.6, 0 and 0.1; 0.1 is above 0 and ties with 0.1.
    assert summary["figures"]["per_class"]["melanoma"]["auc"]["value"] == pytest.approx((4 + 1 + 0.5) / 8)
    # Malignancy scores 0.8, 0.2 and 0.9 against 0.4, 0.7 and 0.
    assert summary["figures"]["malignant_auc"]["value"] == pytest.approx((3 + 1 + 3) / 9)
    aucs = [summary["figures"]["per_class"][name]["auc"]["value"] for name in CLASSES]
    assert summary["figures"]["mean_auc"]["value"] == pytest.approx(np.mean(aucs))
    # Photographs of IL_1 are one lesion, the image without a lesion id is one of its own.
    assert (summary["images"], summary["figures"]["groups"], summary["with_lesion_id"]) == (6, 5, 5)
    assert summary["matching"] == {
        "matched": 6,
        "scored_without_label": 1,
        "labelled_without_score": 1,
        "repeated": 0,
        "other_bytes": None,
        "shared_ids": 0,
        "first_shared_ids": [],
    }
    assert summary["labels"]["unmapped"] == {"Wart": 1}
    assert summary["predictions"]["models"] == ["f" * 64]
    assert (summary["seconds"], summary["dataset"], summary["model"]) == (None, None, None)
    # |0.7 - 1|, |0.8 - 0|, |0.6 - 1/2| twice (a bin of two), |1 - 1|, |0.8 - 1|: 0.8 twice in one bin.
    assert summary["calibration"]["expected_calibration_error"] == pytest.approx(
        (1 * 0.3 + 2 * abs(0.8 - 0.5) + 2 * abs(0.6 - 0.5) + 1 * 0.0) / 6, abs=1e-6
    )
    mistakes = summary["mistakes"]
    assert [one["source_id"] for one in mistakes["missed"]] == ["ISIC_0000002"]
    assert mistakes["missed"][0]["malignancy_score"] == pytest.approx(0.2)
    assert [one["source_id"] for one in mistakes["false_alarms"]] == ["ISIC_0000004"]
    assert [one["source_id"] for one in mistakes["confident"]] == ["ISIC_0000002", "ISIC_0000004"]
    # Labels and people come from one table.
    sizes = {row["group"]: (row["n"], row["lesions"]) for row in summary["subgroups"][0]["groups"]}
    assert sizes == {
        "under 30": (1, 1),
        "45 to 59": (2, 1),
        "60 to 74": (1, 1),
        "75 and over": (1, 1),
        "unknown": (1, 1),
    }
    assert all(row["few"] for division in summary["subgroups"] for row in division["groups"])
    assert [row["group"] for row in summary["subgroups"][2]["groups"]] == ["head/neck", "posterior torso", "unknown"]


@pytest.mark.parametrize(
    "text",
    [
        "id,class\nISIC_0000001,melanoma\nISIC_0000003.jpg,nevus\nISIC_0000006,basal cell carcinoma\n",
        "image,MEL,NV,BCC,AK\nISIC_0000001,1.0,0,0,0\nISIC_0000003,0.0,1.0,0,0\nISIC_0000006,0,0,1,0\n",
        "lesion_id,image_id,dx\nA,ISIC_0000001,mel\nB,ISIC_0000003,nv\nC,ISIC_0000006,bcc\nD,ISIC_0000005,vasc\n",
    ],
    ids=["id and class", "challenge", "HAM10000"],
)
def test_labels_come_in_every_form_that_prepare_reads(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.csv").write_text(text)
    scores = write_scores(tmp_path / "scores.parquet")
    result = run(tmp_path, predictions=scores, labels=tmp_path / "labels.csv")
    assert result["figures"]["confusion_matrix"] == np.eye(3).astype(int).tolist()
    table = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pydict()
    assert table["source_id"] == ["ISIC_0000001", "ISIC_0000003", "ISIC_0000006"]
    assert table["class"] == ["melanoma", "nevus", "basal cell carcinoma"]


def write_model(folder: Path, *seen: Sequence[str], fold: int = -1) -> str:
    """A model that was trained on images with these contents, ids and lesions; its fingerprint. Nobody runs it."""
    (folder / "assets").mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    (folder / TRAIN_IMAGES).write_bytes(train_images(*seen).as_bytes())
    return seal_model(folder, model_document(CLASSES, CLASSES[:2], 32, fold=fold))["model_fingerprint"]


def write_run(folder: Path, models: dict[Path, str]) -> Path:
    """A run of the score job with these models: folder -> fingerprint."""
    made_by = ["; ".join(models.values())] * len(SCORED)
    write_scores(folder / "scores-00000-of-00001.parquet", model_fingerprint=made_by)
    said = [{"path": str(path), "fingerprint": fingerprint} for path, fingerprint in models.items()]
    (folder / "_summary.json").write_text(json.dumps({"models": said}))
    return folder


def test_scored_images_that_trained_the_model_are_refused_unless_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.csv").write_text(TABLE)
    model = tmp_path / "model"
    # One by its content, one by its id, and two by a lesion that the table of labels knows.
    fingerprint = write_model(model, [f"{4:064x}"], ["ISIC_0000003"], ["IL_1"])
    scores = write_run(tmp_path / "run=1", {model: fingerprint})
    places = {"predictions": scores, "labels": tmp_path / "labels.csv"}
    says = f"--predictions {scores}: the model was trained on 4 of these 6 images or on others of their lesions"
    for more in ({}, {"model": model}):
        with pytest.raises(UsageError) as refused:
            run(tmp_path, **places, **more)
        assert str(refused.value).startswith(f"{says}; ")
        assert "--allow_seen" in str(refused.value)
    assert not (tmp_path / "out").exists()
    result = run(tmp_path, **places, allow_seen=True)
    assert result["seen_images"] == 4
    assert f"warning: {says}\n" in capsys.readouterr().err
    for report in ("report.md", "report.html"):
        assert "The model was trained on 4 of these 6 images" in (tmp_path / "out" / report).read_text()

    # The model has moved: the user says where it is, and no other will do.
    model.rename(tmp_path / "moved")
    with pytest.raises(UsageError, match="the model was trained on 4 of these 6 images"):
        run(tmp_path, **places, model=tmp_path / "moved", overwrite=True)
    write_model(model, [], [], [], fold=1)
    with pytest.raises(UsageError, match=f"--model {model}: did not make these predictions .*; name the"):
        run(tmp_path, **places, model=model, overwrite=True)
    assert run(tmp_path, **places, overwrite=True)["seen_images"] is None
    assert "is not to be found" in capsys.readouterr().err


def test_images_that_one_of_several_models_knows_are_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "labels.csv").write_text(TABLE)
    folders = [tmp_path / "one", tmp_path / "two"]
    made = [write_model(folders[0], [], [], []), write_model(folders[1], [], ["ISIC_0000006"], [])]
    scores = write_run(tmp_path / "run=1", dict(zip(folders, made, strict=True)))
    with pytest.raises(UsageError, match="its models were trained on 1 of these 6 images"):
        run(tmp_path, predictions=scores, labels=tmp_path / "labels.csv")
    scores = write_run(tmp_path / "run=2", {folders[0]: made[0]})
    assert run(tmp_path, predictions=scores, labels=tmp_path / "labels.csv")["seen_images"] == 0
    assert "not to be found" not in capsys.readouterr().err


def test_rows_that_disagree_on_an_image_are_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.csv").write_text("id,class\nISIC_0000001,melanoma\nISIC_0000003,nevus\nISIC_0000003,melanoma\n")
    scores = write_scores(tmp_path / "scores.parquet")
    result = run(tmp_path, predictions=scores, labels=tmp_path / "labels.csv")
    assert (result["images"], result["labels"]["conflicts"]) == (1, 1)


def test_figures_of_an_evaluation_are_those_of_its_predictions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.csv").write_text(TABLE)
    scores = write_scores(tmp_path / "scores.parquet")
    first = run(tmp_path, predictions=scores, labels=tmp_path / "labels.csv")
    again = evaluate_command.run(
        evaluate_command.EvaluateOptions(
            output=str(tmp_path / "again"), predictions=str(tmp_path / "out" / "predictions.parquet"), bootstrap=20
        )
    )
    assert again["figures"] == first["figures"]
    assert again["mistakes"] == first["mistakes"]
    assert again["predictions"]["models"] == ["f" * 64]


def test_labels_of_several_classes_are_judged_on_the_sum_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A truth of 2018 says BKL and AKIEC; the model has two classes of each."""
    names = (
        *("actinic_keratosis", "melanoma", "nevus"),
        *("pigmented_benign_keratosis", "seborrheic_keratosis", "squamous_cell_carcinoma"),
    )
    said = {"MEL": 1, "NV": 2, "BKL": 4, "AKIEC": 5}
    columns = [name for name in said for _ in range(5)]
    ids = [f"ISIC_{number:07}" for number in range(len(columns))]
    scores = tmp_path / "scores.parquet"
    values = {
        f"probability_{name}": pa.array([0.9 if index == said[one] else 0.02 for one in columns], pa.float32())
        for index, name in enumerate(names)
    }
    pq.write_table(pa.table({"image_id": ids, **values}), scores)
    lines = [
        f"{name},{','.join(str(float(one == other)) for other in said)}" for name, one in zip(ids, columns, strict=True)
    ]
    (tmp_path / "truth.csv").write_text("\n".join([f"image,{','.join(said)}", *lines]) + "\n")
    first = run(tmp_path, predictions=scores, labels=tmp_path / "truth.csv")
    assert first["figures"]["balanced_accuracy"]["value"] == 1.0
    assert first["classes"][0] == "actinic keratosis or squamous cell carcinoma"
    assert [one["labels"] for one in first["joined_classes"]] == [5, 5]
    assert (first["malignant_classes"], first["figures"]["malignant_auc"]["n"]) == (["melanoma"], 5)
    note = "pigmented benign keratosis or seborrheic keratosis (5 labels)"
    assert note in capsys.readouterr().err
    assert "5 images of it count in no figure of malignancy" in (tmp_path / "out" / "report.md").read_text()
    assert "Some classes are judged as one" in (tmp_path / "out" / "report.html").read_text()
    table = pq.read_table(tmp_path / "out" / "predictions.parquet")
    assert [name for name in table.column_names if name.startswith("probability_")] == list(values)
    assert table["class"].to_pylist()[-1] == table["top_class"].to_pylist()[-1] == first["classes"][0]
    again = evaluate_command.run(
        evaluate_command.EvaluateOptions(
            output=str(tmp_path / "again"), predictions=str(tmp_path / "out" / "predictions.parquet"), bootstrap=20
        )
    )
    assert again["figures"] == first["figures"]
    assert again["joined_classes"] == first["joined_classes"]
    assert again["mistakes"] == first["mistakes"]


def test_an_id_that_several_files_share_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = write_scores(
        tmp_path / "scores.parquet",
        [("1", 1, (0.1, 0.7, 0.2)), ("1", 2, (0.2, 0.2, 0.6)), *SCORED],
    )
    table = pq.read_table(scores)
    paths = ["in/a/1.jpg", "in/b/1.jpg", *table["path"].to_pylist()[2:]]
    pq.write_table(table.set_column(table.column_names.index("path"), "path", [paths]), scores)
    labels = tmp_path / "labels.csv"
    labels.write_text("id,class\n1,melanoma\nISIC_0000001,melanoma\n")
    shared = run(tmp_path, predictions=scores, labels=labels)
    assert (shared["images"], shared["matching"]["shared_ids"]) == (1, 1)
    assert "several scored files share 1 id (1); name their paths in --labels; left out" in capsys.readouterr().err
    labels.write_text("Path;Class\nb/1.jpg;nevus\na\\1.jpg;MELANOMA\n")
    told = run(tmp_path, predictions=scores, labels=labels, overwrite=True)
    assert (told["images"], told["figures"]["accuracy"]["value"]) == (2, 1.0)


def test_an_output_of_several_runs_is_one_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each night scores what is new. What an unfinished run wrote does not count, nor do columns of single models."""
    root = tmp_path / "scores"
    own = {f"probability_{name.replace(' ', '_')}__1": [0.0] * 3 for name in CLASSES}
    write_scores(root / "run=1" / "scores-00000-of-00001.parquet", SCORED[:3], **own)
    write_scores(root / "run=2" / "scores-00000-of-00001.parquet", SCORED[3:])
    write_scores(root / ".unfinished" / "run=3" / "scores-00000-of-00001.parquet", [SCORED[0]] * 4)
    unfinished = write_scores(root / "run=4" / "scores-00000-of-00001.parquet", [SCORED[0]] * 4)
    unfinished.with_name("_summary.json").unlink()
    (tmp_path / "labels.csv").write_text(TABLE)
    result = run(tmp_path, predictions=root, labels=tmp_path / "labels.csv")
    assert (result["matching"]["matched"], result["matching"]["repeated"]) == (6, 0)


def test_nights_from_before_the_views_were_said_are_still_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "scores"
    write_scores(root / "run=1" / "scores-00000-of-00001.parquet", SCORED[:3])
    later = write_scores(root / "run=2" / "scores-00000-of-00001.parquet", SCORED[3:])
    pq.write_table(pq.read_table(later).replace_schema_metadata({"views": "one_view"}), later)
    (tmp_path / "labels.csv").write_text(TABLE)
    result = run(tmp_path, predictions=root, labels=tmp_path / "labels.csv")
    assert (result["matching"]["matched"], result["views"]) == (6, None)


def test_of_an_image_scored_twice_the_last_score_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = write_scores(tmp_path / "scores.parquet", [("ISIC_0000001", 1, (0.0, 0.0, 1.0)), *SCORED])
    (tmp_path / "labels.csv").write_text(TABLE)
    result = run(tmp_path, predictions=scores, labels=tmp_path / "labels.csv")
    assert (result["matching"]["repeated"], result["images"]) == (1, 6)
    assert result["figures"]["confusion_matrix"] == [[1, 0, 0], [0, 1, 1], [0, 1, 2]]


def test_a_table_may_have_both_names_of_the_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "labels.csv").write_text(TABLE)
    scores = write_scores(tmp_path / "scores.parquet", source_id=[row[0] for row in SCORED])
    assert run(tmp_path, predictions=scores, labels=tmp_path / "labels.csv")["matching"]["matched"] == 6


def test_subgroups_have_figures_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of twenty women's lesions all are called rightly, of twenty men's half; the others are too few."""
    as_nevus, as_melanoma, almost = (0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, 0.6, 0.4)
    rows, lines = [], ["image_id,dx,age,sex,localization,lesion_id"]
    for number in range(44):
        is_melanoma = number % 2 == 0
        female = number < 20
        said = as_melanoma if is_melanoma and (female or number % 4 == 0) else as_nevus
        said = almost if not is_melanoma and not female and number % 4 == 1 else said
        rows.append((f"ISIC_{number:07d}", None, said))
        sex = "unknown" if number >= 40 else "female" if female else "male"
        lines.append(f"ISIC_{number:07d},{'mel' if is_melanoma else 'nv'},50.0,{sex},,L{number}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    scores = write_scores(tmp_path / "scores.parquet", rows)
    result = run(tmp_path, predictions=scores, labels=tmp_path / "labels.csv", bootstrap=200)
    assert [division["by"] for division in result["subgroups"]] == ["age", "sex"]
    female, male, unknown = result["subgroups"][1]["groups"]
    assert [row["group"] for row in (female, male, unknown)] == ["female", "male", "unknown"]
    assert unknown == {"group": "unknown", "n": 4, "lesions": 4, "classes": 2, "few": True}
    assert (female["n"], female["classes"], female["balanced_accuracy"]["value"]) == (20, 2, 1.0)
    # All resamples are perfect too: that says nothing of other lesions.
    assert female["balanced_accuracy"]["low"] is None
    assert male["balanced_accuracy"]["value"] == pytest.approx(0.5)
    assert male["balanced_accuracy"]["low"] < 0.45 < 0.55 < male["balanced_accuracy"]["high"]
    # Five melanomas are above all ten nevi; the other five tie with five nevi and lie below five.
    assert male["melanoma_auc"]["value"] == pytest.approx((5 * 10 + 5 * 5 / 2) / 100)
    # At 0.6 six of 22 nevi would be flagged, more than a tenth.
    assert result["subgroup_threshold"] == {"value": 1.0, "specificity": 0.9}
    assert (male["sensitivity"]["value"], male["sensitivity"]["n"]) == (0.5, 10)
    assert (male["specificity"]["value"], male["specificity"]["n"]) == (1.0, 10)


def wrong(kind: str, tmp_path: Path) -> tuple[dict, str]:
    """Options of a wrong use, and what its message must say."""
    (tmp_path / "labels.csv").write_text(TABLE)
    options = {"predictions": write_scores(tmp_path / "scores.parquet"), "labels": tmp_path / "labels.csv"}
    if kind == "no labels at all":
        return {**options, "labels": None}, "says of no image what it is; add --dataset"
    if kind == "nothing there":
        return {**options, "predictions": tmp_path / "nowhere"}, "--predictions .*nowhere: no such file"
    if kind == "empty folder":
        (tmp_path / "empty").mkdir()
        return {**options, "predictions": tmp_path / "empty"}, "holds neither scores-"
    if kind == "no Parquet":
        return {**options, "predictions": tmp_path / "labels.csv"}, "no Parquet file"
    if kind == "other Parquet":
        pq.write_table(pa.table({"image_id": ["a"]}), tmp_path / "other.parquet")
        return {**options, "predictions": tmp_path / "other.parquet"}, "needs a column source_id or image_id and two"
    if kind == "two models":
        names = ["e" * 64, *["f" * 64] * (len(SCORED) - 1)]
        scores = write_scores(tmp_path / "two.parquet", model_fingerprint=names)
        return {**options, "predictions": scores}, "scores of 2 models; name the folder of one run"
    if kind == "one evaluation twice":
        labelled: dict[str, Any] = {"class": [CLASSES[row[1] or 0] for row in SCORED]}
        for name in ("evaluation", "one_view"):
            write_scores(tmp_path / "fold" / name / "predictions.parquet", **labelled)
        return {"predictions": tmp_path / "fold"}, "has ISIC_0000001 twice .7 such images.; name one evaluation"
    if kind == "one view and eight":
        for views in ("one_view", "eight_views"):
            file = write_scores(tmp_path / "views" / f"scores-{views}.parquet")
            pq.write_table(pq.read_table(file).replace_schema_metadata({"views": views}), file)
        return {**options, "predictions": tmp_path / "views"}, "partly of one view, partly of eight; name the folder"
    if kind == "percentages":
        scores = write_scores(tmp_path / "percent.parquet", [(*row[:2], np.multiply(row[2], 100)) for row in SCORED])
        return {**options, "predictions": scores}, "numbers of 7 images are no probabilities"
    if kind == "no image":
        empty = pq.read_table(write_scores(tmp_path / "none.parquet")).slice(0, 0)
        pq.write_table(empty, tmp_path / "none.parquet")
        return {**options, "predictions": tmp_path / "none.parquet"}, "none.parquet: holds no image"
    if kind == "a score missing":
        scores = write_scores(tmp_path / "nan.parquet", probability_nevus=pa.array([np.nan] * len(SCORED)))
        return {**options, "predictions": scores}, "missing or not finite"
    if kind == "a score in words":
        scores = write_scores(tmp_path / "words.parquet", probability_nevus=["high"] * len(SCORED))
        return {**options, "predictions": scores}, "a probability is no number .*high"
    if kind == "other numbers":
        scores = write_scores(tmp_path / "numbers.parquet", image_id=list(range(len(SCORED))))
        return {**options, "predictions": scores}, "none of its 7 images is among .*scored are 0, 1, "
    if kind == "no image in common":
        (tmp_path / "labels.csv").write_text("id,class\nISIC_1111111,nevus\n")
        return options, "none of its 7 images is among the 1 labelled ones .*ISIC_0000001.*ISIC_1111111"
    if kind == "labels of other classes":
        (tmp_path / "labels.csv").write_text("id,class\nISIC_0000001,wart\n")
        return options, "--labels .* no image has one of the classes basal cell carcinoma, melanoma, nevus"
    if kind == "labels without ids":
        (tmp_path / "labels.csv").write_text("file,class\nISIC_0000001,nevus\n")
        return options, "--labels .* needs a column .*it has file, class"
    if kind == "labels missing":
        return {**options, "labels": tmp_path / "nowhere.csv"}, "--labels .*nowhere.csv: cannot be read"
    if kind == "another model":
        write_model(tmp_path / "model", [], [], [])
        return {**options, "model": tmp_path / "model"}, "--model .* did not make these predictions"
    if kind == "views":
        return {**options, "tta": True}, "--tta: with --predictions the model is not run"
    if kind == "fold of nothing":
        return {**options, "fold": 1}, "--fold 1: is a part of a dataset"
    raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        *("no labels at all", "nothing there", "empty folder", "no Parquet", "other Parquet", "two models"),
        *("a score missing", "no image in common", "labels of other classes", "labels without ids", "labels missing"),
        *("another model", "views", "fold of nothing", "one evaluation twice"),
        *("a score in words", "other numbers"),
    ],
)
def test_wrong_use_is_one_line_and_writes_nothing(kind: str, tmp_path: Path) -> None:
    options, says = wrong(kind, tmp_path)
    with pytest.raises(UsageError, match=says) as raised:
        run(tmp_path, **options)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()
