"""A cross-validation as a user runs it: figures that follow from its predictions, a card, and nothing done twice."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from pipelines.common.cli import UsageError
from pipelines.domain.decision_rule import decision_values
from tests.support.commands import Command
from tests.support.tiny_dataset import CLASSES, ROOT, deal_into_folds
from trainer.distribution.processes import available_cores
from trainer.experiment import command as experiment_command
from trainer.experiment.ablations import UNCHANGED, read_changes
from trainer.experiment.fold_runs import FoldRun, run_all
from trainer.experiment.model_card import model_card
from trainer.experiment.oof_predictions import OutOfFoldPredictions, calibration_figures, flagged_at
from trainer.experiment.options import check, check_same, parse_experiment
from trainer.experiment.summary import spread
from trainer.export.calibration import expected_calibration_error, fit_temperature, tempered

RECIPE = {"epochs": 2, "batch_size": 16, "width": 0.25, "depth": 1, "learning_rate": 0.01, "loss": "balanced_softmax"}
CHANGES: dict = {
    "base": {"batch_size": 8},
    "changes": [
        {"name": "no_dropout", "says": "no dropout", "options": {"dropout": 0.0}},
        {"name": "leak", "says": "the leak", "options": {"loss": "cross_entropy"}, "dataset": "leaky"},
    ],
}
FOLDS = 2


@pytest.fixture(scope="module")
def places(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset in folds, with and without its copies, the recipe and the changes."""
    folder = tmp_path_factory.mktemp("experiment")
    for name in ("plain", "balanced"):
        shutil.copytree(dataset, folder / name)
        deal_into_folds(folder / name, FOLDS, copies=name == "balanced")
        document = json.loads((folder / name / "dataset.json").read_text())
        changed = {**document, "fingerprint": name * 8, "dropped": {"duplicate": 3, "label_conflict": 2}}
        (folder / name / "dataset.json").write_text(json.dumps(changed))
    (folder / "recipe.json").write_text(json.dumps(RECIPE))
    (folder / "changes.json").write_text(json.dumps(CHANGES))
    # Of every image's person, by the names that the images have; and a table that says nothing of people.
    names = [f"train-{label}-{index}" for label in range(len(CLASSES)) for index in range(40)]
    rows = [f"{name},{20 + 60 * (index % 2)}" for index, name in enumerate(names)]
    (folder / "people.csv").write_text("\n".join(["image_id,age", *rows]) + "\n")
    (folder / "labels.csv").write_text("image_id,dx\ntrain-1-1,mel\n")
    return folder


def arguments(places: Path, **other: object) -> list[str]:
    values = {
        "dataset": places / "plain",
        "output": places / "out",
        "recipe": places / "recipe.json",
        "changes": places / "changes.json",
        "balanced": places / "balanced",
        **other,
    }
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


def tables(places: Path) -> list[str]:
    return [f"--metadata={places / name}" for name in ("people.csv", "labels.csv")]


@pytest.fixture(scope="module")
def run(command: Command) -> Command:
    """Runs an experiment; its trainings and evaluations are processes of their own, as they always are."""
    return functools.partial(command, "trainer.experiment")


@pytest.fixture(scope="module")
def done(process: Command, places: Path) -> tuple[str, dict[str, Any]]:
    """A finished experiment, as a process: what it printed, and its figures."""
    ended = process("trainer.experiment", *arguments(places, card=places / "card.md"), *tables(places))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout, json.loads((places / "out/experiment.json").read_text())


def predictions(places: Path, fold: int) -> tuple[Any, np.ndarray, np.ndarray]:
    turn = places / "out/recipe" / f"fold-{fold}"
    table = pq.read_table(turn / "evaluation/predictions.parquet").to_pandas()
    prior = json.loads((turn / "train/model/assets/model.json").read_text())["calibration"]["prior"]
    probabilities = table[[f"probability_{name.replace(' ', '_')}" for name in CLASSES]].to_numpy()
    return table, probabilities, np.array([prior[name] for name in CLASSES])


@pytest.mark.proof
def test_every_original_is_predicted_once_by_a_network_that_never_saw_it(
    places: Path, done: tuple[str, dict[str, Any]]
) -> None:
    tables = [predictions(places, fold)[0] for fold in range(FOLDS)]
    names = [name for table in tables for name in table["source_id"]]
    assert len(names) == len(set(names)) == 70 == done[1]["pooled"]["n"]
    for fold, table in enumerate(tables):
        assert {int(name.rpartition("-")[2]) % FOLDS for name in table["source_id"]} == {fold}
        options = json.loads((places / f"out/recipe/fold-{fold}/train/run.json").read_text())["options"]
        assert (options["fold"], options["keep"], options["epochs"], options["patience"]) == (fold, "last", 2, 0)


@pytest.mark.proof
def test_figures_are_those_of_the_predictions(places: Path, done: tuple[str, dict[str, Any]]) -> None:
    each, melanoma = [], []
    for fold in range(FOLDS):
        table, probabilities, prior = predictions(places, fold)
        called = decision_values(probabilities, prior).argmax(axis=1)
        each.append(balanced_accuracy_score(table["label"], called))
        melanoma.append(roc_auc_score(table["label"] == CLASSES.index("melanoma"), probabilities[:, 1]))
    figures = done[1]
    assert [fold["balanced_accuracy"] for fold in figures["folds"]] == pytest.approx(each)
    found = figures["spread"]["balanced_accuracy"]
    assert (found["mean"], found["sd"]) == pytest.approx((np.mean(each), np.std(each, ddof=1)))
    assert figures["spread"]["melanoma_auc"]["mean"] == pytest.approx(np.mean(melanoma))
    assert figures["network"]["multiply_adds"] > 1000
    views = {}
    for name in ("evaluation", "one_view"):
        found = [json.loads((places / f"out/recipe/fold-{fold}/{name}/evaluation.json").read_text()) for fold in (0, 1)]
        assert [one["views"] for one in found] == ["eight_views" if name == "evaluation" else "one_view"] * 2
        views[name] = np.mean([one["figures"]["mean_auc"]["value"] for one in found])
    assert figures["spread"]["mean_auc"]["mean"] == pytest.approx(views["evaluation"])
    assert figures["one_view"]["mean_auc"]["mean"] == pytest.approx(views["one_view"])
    assert 0 <= figures["calibration"]["ece_after"] <= 1
    # Of all images together, each decided by its own network's class frequencies.
    assert figures["pooled"]["accuracy"]["value"] == pytest.approx(
        np.average([fold["accuracy"] for fold in figures["folds"]], weights=[fold["n"] for fold in figures["folds"]])
    )


@pytest.mark.proof
def test_subgroups_are_those_of_the_tables(places: Path, done: tuple[str, dict[str, Any]]) -> None:
    (division,) = done[1]["subgroups"]
    assert division["by"] == "age"
    assert [group["group"] for group in division["groups"]] == ["under 30", "75 and over"]
    assert sum(group["n"] for group in division["groups"]) == 70
    report = (places / "out/recipe/fold-0/evaluation/report.md").read_text()
    assert "### By age" in report


def test_a_threshold_is_chosen_on_the_other_folds() -> None:
    scores = [np.array([0.9, 0.1]), np.array([0.6, 0.2, 0.05])]
    malignant = [np.array([True, False]), np.array([True, True, False])]
    # All malignant of the second fold have 0.2 or more, which flags one of the first; of the first, 0.9 or more.
    for target in (1.0, 0.5):
        flagged = flagged_at(target, scores, malignant)
        assert flagged is not None
        assert flagged.tolist() == [1, 0, 0, 0, 0]
    assert flagged_at(1.0, scores, [np.array([False, False]), malignant[1]]) is None


def test_calibration_before_is_that_of_the_networks_own_logits() -> None:
    random = np.random.default_rng(0)
    folds, before, labels, prior = [], [], [], np.array([0.6, 0.3, 0.1])
    for temperature in (0.6, 1.7):
        logits, truth = random.normal(0, 2, (300, 3)), random.integers(0, 3, 300)
        logits[np.arange(300), truth] += 1
        folds.append(
            OutOfFoldPredictions(
                source_id=[str(index) for index in range(300)],
                sha256=[f"{temperature}/{index}" for index in range(300)],
                groups=[str(index) for index in range(300)],
                labels=truth,
                probabilities=softmax(tempered(logits, temperature, np.log(prior)), axis=1),
                temperature=np.full(300, temperature),
                prior=np.tile(prior, (300, 1)),
            )
        )
        before.append(softmax(logits, axis=1))
        labels.append(truth)
    figures = calibration_figures(folds)
    expected = expected_calibration_error(np.concatenate(before), np.concatenate(labels))
    assert figures["ece_before"] == pytest.approx(expected)
    # The temperature of the other network.
    first, second = (
        fit_temperature(np.log(p), truth, np.ones(300), np.log(prior)) for p, truth in zip(before, labels, strict=True)
    )
    assert figures["temperatures"] == pytest.approx([second, first], rel=1e-4)
    assert first != pytest.approx(second, rel=0.01)


@pytest.mark.proof
def test_changes_are_compared_with_their_base_on_the_same_fold_and_the_leak_shows(
    places: Path, done: tuple[str, dict[str, Any]]
) -> None:
    no_dropout, leak = done[1]["changes"]["lines"]
    evaluation = json.loads((places / "out/changes/base/fold-0/evaluation/evaluation.json").read_text())
    first = evaluation["figures"]["balanced_accuracy"]["value"]
    assert no_dropout["recipe"]["balanced_accuracy"]["mean"] == pytest.approx(first)
    assert no_dropout["balanced_accuracy"]["mean"] != pytest.approx(first)
    for line in (no_dropout, leak):
        assert line["n"] == evaluation["images"]
        for name in ("balanced_accuracy", "melanoma_auc"):
            difference = line["difference"][name]
            expected = line[name]["mean"] - line["recipe"][name]["mean"]
            assert difference["value"] == pytest.approx(expected, abs=1e-6)
    for name, dropout in (("base", 0.2), ("no_dropout", 0.0)):
        options = json.loads((places / f"out/changes/{name}/fold-0/train/run.json").read_text())["options"]
        assert (options["batch_size"], options["dropout"]) == (8, dropout)
    assert 0 <= leak["balanced_accuracy"]["mean"] <= 1
    assert 0 <= leak["validation"]["mean"] <= 1


@pytest.mark.proof
def test_a_base_that_is_the_recipe_is_not_trained_a_second_time(
    run: Command, places: Path, done: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    for name in ("recipe", "settings.json"):
        (shutil.copytree if name == "recipe" else shutil.copy)(places / "out" / name, tmp_path / name)
    changes = tmp_path / "same.json"
    changes.write_text(json.dumps({"base": {"batch_size": RECIPE["batch_size"]}, "changes": []}))
    process = run(*arguments(places, output=tmp_path, changes=changes), *tables(places))
    assert process.returncode == 0, process.stderr
    assert not (tmp_path / "changes").exists()
    assert json.loads((tmp_path / "experiment.json").read_text())["changes"]["base"] == {}


@pytest.mark.proof
def test_the_card_and_the_terminal_say_the_same(places: Path, done: tuple[str, dict[str, Any]]) -> None:
    printed, figures = done
    card = (places / "card.md").read_text()
    assert card == (places / "out/model_card.md").read_text()
    mean = figures["spread"]["balanced_accuracy"]
    said = f"{mean['mean']:.3f} ± {mean['sd']:.3f}"
    assert said in card
    assert said in printed
    headings = ("What it is", "Data", "Figures", "Subgroups", "What each part is worth", "Limits", "Recipe")
    assert [line[3:] for line in card.splitlines() if line.startswith("## ")] == list(headings)
    assert "### By age" in card
    assert "The recipe (here with batch_size 8) with one change at a time, on fold 0" in card
    for row in (line for line in card.splitlines() if line.startswith("|")):
        assert row.endswith("|")
    for row in (line for line in printed.splitlines() if line.startswith(("| melanoma", "| nevus"))):
        assert row in card
    assert all(name in card for name in CLASSES)
    assert "Left out by preparation: 3 duplicate, 2 label_conflict." in card
    assert "A convolutional network, trained from scratch, that tells 4 kinds" in card


@pytest.mark.proof
def test_the_card_says_what_a_network_started_from_and_which_class_had_no_images(
    done: tuple[str, dict[str, Any]],
) -> None:
    figures = done[1]
    started = {
        "imagenet": "started from ImageNet weights",
        "w.h5": "started from weights trained before on other data",
        "": "trained from scratch",
    }
    for weights, says in started.items():
        recipe = {**figures["recipe"], "backbone": "MobileNetV2", "weights": weights}
        card = model_card({**figures, "recipe": recipe})
        assert f"MobileNetV2 of keras.applications, {says}, that tells" in card
    assert "are stored with them" not in card
    card = model_card({**figures, "dataset": {**figures["dataset"], "examples": figures["dataset"]["examples"] + 30}})
    assert ". Networks are trained on 100 examples: 30 augmented copies are stored with them. Photographs" in card
    lines = [{**line, "says": "this | that"} for line in figures["changes"]["lines"]]
    card = model_card({**figures, "changes": {**figures["changes"], "lines": lines}})
    assert "| this \\| that | " in card
    empty = {**figures["images"], CLASSES[0]: 0}
    card = model_card({**figures, "images": empty})
    assert "that tells 3 kinds" in card
    assert f"; none of {CLASSES[0]}, which the figures leave out" in card


@pytest.mark.proof
def test_again_trains_nothing_and_another_recipe_is_refused(
    run: Command, places: Path, done: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in (places / "out").rglob("saved_model.pb")}
    evaluations = {path: path.stat().st_mtime_ns for path in (places / "out").rglob("evaluation.json")}
    again = run(*arguments(places), *tables(places))
    assert again.returncode == 0, again.stderr
    assert "epoch" not in again.stdout
    assert {path: path.stat().st_mtime_ns for path in (places / "out").rglob("evaluation.json")} == evaluations
    assert {path: path.stat().st_mtime_ns for path in (places / "out").rglob("saved_model.pb")} == stamps
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**RECIPE, "epochs": 3}))
    refused = run(*arguments(places, recipe=other))
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "holds an experiment with another recipe" in refused.stderr


def test_damaged_settings_are_no_failure_of_ours(places: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(UsageError, match=r"--output .*: settings\.json is damaged; give a new directory"):
        experiment_command.run(parse_experiment(arguments(places, output=tmp_path)))


@pytest.mark.proof
def test_a_change_is_not_taken_for_another_of_its_name(places: Path, done: tuple[str, dict[str, Any]]) -> None:
    options = parse_experiment(arguments(places))
    assert options.changes is not None
    ablation = read_changes(options.changes)
    change, base = ablation.changes[0], {**RECIPE, **ablation.base}
    check_same(options, base, change, 0)
    other = replace(change, options={"dropout": 0.4})
    with pytest.raises(UsageError, match=r"no_dropout was trained with dropout 0\.0, not 0\.4; give .* another name"):
        check_same(options, base, other, 0)
    with pytest.raises(UsageError, match=r"no_dropout was trained with another dataset, not .*balanced"):
        check_same(options, base, replace(change, dataset="balanced"), 0)
    leak = ablation.changes[1]
    check_same(options, base, leak, 0)
    prepared_again = replace(options, balanced=places / "plain")
    with pytest.raises(UsageError, match=r"leak was trained with another dataset, not .*plain"):
        check_same(prepared_again, base, leak, 0)
    with pytest.raises(UsageError, match=r"base was trained with batch_size 8, not 16; give another --output, or del"):
        check_same(options, RECIPE, UNCHANGED, 0)


@pytest.mark.proof
def test_a_network_that_was_trained_again_is_evaluated_again(
    places: Path, done: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copytree(places / "out/recipe/fold-0", tmp_path / "fold-0")
    shutil.rmtree(tmp_path / "fold-0/train")
    shutil.copytree(places / "out/changes/base/fold-0/train", tmp_path / "fold-0/train")
    turn = FoldRun(tmp_path / "fold-0", places / "plain", 0, RECIPE)
    run_all([turn], jobs=1)
    model = json.loads((tmp_path / "fold-0/train/model/assets/model.json").read_text())
    assert turn.figures()["model"]["fingerprint"] == model["model_fingerprint"]


@pytest.mark.proof
def test_evaluations_that_are_not_whole_or_lack_a_table_are_made_again(
    places: Path, done: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copytree(places / "out/recipe/fold-0", tmp_path / "fold-0")
    damaged, lost = (
        tmp_path / "fold-0" / name for name in ("one_view/evaluation.json", "evaluation/predictions.parquet")
    )
    damaged.write_text("")
    lost.unlink()
    turn = FoldRun(tmp_path / "fold-0", places / "plain", 0, RECIPE, (places / "people.csv",), also_one_view=True)
    run_all([turn], jobs=1)
    assert turn.figures_of_one_view()["metadata"]["matched"] > 0
    assert pq.read_table(lost).num_rows == turn.figures()["images"]
    # Of the folds that were evaluated with two tables.
    shutil.rmtree(tmp_path / "fold-0/evaluation")
    shutil.copytree(places / "out/recipe/fold-0/evaluation", tmp_path / "fold-0/evaluation")
    run_all([turn], jobs=1)
    assert turn.figures()["metadata"]["paths"] == [str(places / "people.csv")]


@pytest.mark.proof
@pytest.mark.parametrize("name", ["train.json", "model/assets/model.json"])
def test_a_training_run_that_is_not_whole_is_said_before_any_work(
    places: Path, done: tuple[str, dict[str, Any]], tmp_path: Path, name: str
) -> None:
    shutil.copytree(places / "out/recipe/fold-0/train", tmp_path / "fold-0/train")
    (tmp_path / "fold-0/train" / name).write_text("{")
    with pytest.raises(UsageError, match=rf"--output .*fold-0: train/{name} is missing or damaged; delete"):
        run_all([FoldRun(tmp_path / "fold-0", places / "plain", 0, RECIPE)], jobs=1)
    assert not (tmp_path / "fold-0/evaluation").exists()


@pytest.mark.proof
def test_a_change_whose_options_are_lost_is_named_with_a_remedy(
    places: Path, done: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copytree(places / "out/changes/no_dropout/fold-0/train", tmp_path / "changes/no_dropout/fold-0/train")
    (tmp_path / "changes/no_dropout/fold-0/train/run.json").write_text("")
    options = parse_experiment(arguments(places, output=tmp_path))
    assert options.changes is not None
    with pytest.raises(UsageError, match=r"run\.json is damaged; delete .*no_dropout/fold-0$"):
        check_same(options, RECIPE, read_changes(options.changes).changes[0], 0)


@pytest.mark.proof
def test_changes_may_be_left_out_again(
    places: Path, done: tuple[str, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(places / "out", tmp_path / "out")
    options = [*arguments(places, changes=None, output=tmp_path / "out"), *tables(places)]
    again = experiment_command.run(parse_experiment(options))
    assert again["changes"]["lines"] == []
    assert again["pooled"] == done[1]["pooled"]
    assert "What each part is worth" not in (tmp_path / "out/model_card.md").read_text()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"backbone": "InceptionV3"}, "other: --backbone InceptionV3: cannot be built for images of 32 px"),
        ({"backbone": "MobileNetV2", "weights": "LICENSE"}, "other: --weights LICENSE: cannot be used for --backbone"),
        ({"strategy": "multi_worker"}, "other: --strategy multi_worker needs TF_CONFIG"),
    ],
)
def test_what_training_would_refuse_is_refused_before_it(
    places: Path, tmp_path: Path, options: dict[str, str], says: str
) -> None:
    changes = tmp_path / "changes.json"
    changes.write_text(json.dumps({"changes": [{"name": "other", "says": "", "options": options}]}))
    with pytest.raises(UsageError, match=says):
        check(parse_experiment(arguments(places, changes=changes)))


@pytest.mark.parametrize("name", ["ResNet5", 5])
def test_a_backbone_is_looked_for_before_the_work(places: Path, tmp_path: Path, name: int | str) -> None:
    changes = tmp_path / "changes.json"
    line = {"name": "other", "says": "", "options": {"backbone": name}}
    changes.write_text(json.dumps({"changes": [line]}))
    with pytest.raises(UsageError, match=rf"other: --backbone {name}: no network of keras\.applications"):
        check(parse_experiment(arguments(places, changes=changes)))


def test_the_fold_that_is_left_out_does_not_say_when_to_stop(places: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({**RECIPE, "patience": 5}))
    with pytest.raises(UsageError, match=r"recipe\.json: 'patience' is 5: .*when to stop; give 0, or leave it out"):
        check(parse_experiment(arguments(places, recipe=recipe)))
    recipe.write_text(json.dumps({**RECIPE, "patience": 0}))
    check(parse_experiment(arguments(places, recipe=recipe)))


def test_the_base_of_changes_is_checked_before_the_work(places: Path, tmp_path: Path) -> None:
    changes = tmp_path / "changes.json"
    changes.write_text('{"base": {"epochs": "many"}, "changes": []}')
    with pytest.raises(UsageError, match=r"changes\.json, base: .*--epochs.*many"):
        check(parse_experiment(arguments(places, changes=changes)))


several_cores = pytest.mark.skipif(len(available_cores()) < 2, reason="one core only: --jobs 2 is refused")


@several_cores
@pytest.mark.proof
def test_folds_at_once_share_the_cores(run: Command, places: Path, tmp_path: Path) -> None:
    process = run(*arguments(places, changes=None, output=tmp_path / "out", jobs=2))
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    for fold in range(FOLDS):
        assert sum(line.startswith(f"[recipe/fold-{fold}] epoch ") for line in lines) == 2
        train = json.loads((tmp_path / f"out/recipe/fold-{fold}/train/train.json").read_text())
        assert train["threads"] == len(available_cores()) // 2
    figures = json.loads((tmp_path / "out/experiment.json").read_text())
    assert [fold["fold"] for fold in figures["folds"]] == [0, 1]
    assert figures["pooled"]["n"] == 70


@pytest.mark.proof
@several_cores
def test_a_fold_that_fails_ends_the_other(run: Command, places: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({**RECIPE, "epochs": 10_000}))
    command = arguments(places, recipe=recipe, changes=None, output=tmp_path / "out", jobs=2)
    settings = {"recipe": {**RECIPE, "epochs": 10_000}, "dataset_fingerprint": "plain" * 8}
    with experiment_command.claimed_experiment(tmp_path / "out", settings):
        pass
    foreign = tmp_path / "out/recipe/fold-1/train/thesis.txt"
    foreign.parent.mkdir(parents=True)
    foreign.touch()
    process = run(*command)
    assert process.returncode == 2
    assert "[recipe/fold-1] trainer.task: error: --output" in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "out/recipe/fold-0/train/model").exists()
    assert foreign.exists()


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=[several_cores, pytest.mark.proof])])
def test_the_signal_to_end_reaches_the_training(places: Path, tmp_path: Path, jobs: int) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({**RECIPE, "epochs": 10_000}))
    command = [*arguments(places, recipe=recipe, changes=None, output=tmp_path / "out", jobs=jobs)]
    with subprocess.Popen(
        [sys.executable, "-m", "trainer.experiment", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "epoch 1/" in line:
                break
        process.terminate()
        # Returns when nobody holds the pipes any more, so the trainer has gone too.
        _, said = process.communicate()
    assert process.returncode == 143
    assert "told to end (SIGTERM); saved" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"balanced": None}, "leak needs stored augmented copies; give --balanced DIR"),
        ({"change_folds": "2"}, "--change_folds 2: .* has folds 0 to 1"),
        ({"change_folds": "a"}, "--change_folds"),
        ({"dataset": "nowhere"}, "--dataset nowhere: no such directory"),
        ({"recipe": "nowhere.json"}, "--recipe nowhere.json: cannot be read"),
        ({"dataset": "gs://bucket/data"}, "--dataset: 'gs://bucket/data': only local directories"),
        ({"jobs": 0}, "--jobs: 0 is out of range: give 1 or more"),
        ({"jobs": 1000}, "--jobs 1000: more than the cores this process may use; give [0-9]+ at most"),
        ({"card": ROOT}, "--card .* is a directory; name a file"),
        ({"metadata": "nowhere.csv"}, "--metadata nowhere.csv: cannot be read"),
        ({"card": ROOT / "setup.py" / "card.md"}, r"--card .*: .*setup\.py is no directory; name another file"),
    ],
)
def test_wrong_use_is_refused_before_the_work(places: Path, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check(parse_experiment(arguments(places, **changed)))


def test_datasets_that_do_not_belong_together(places: Path, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="prepared without folds"):
        check(parse_experiment(arguments(places, dataset=dataset)))
    other = shutil.copytree(places / "balanced", tmp_path / "other")
    document = json.loads((other / "dataset.json").read_text())
    # Another seed deals as many images into each fold, but others.
    for change in ({"aspect": "crop"}, {"seed": 1}):
        (other / "dataset.json").write_text(json.dumps({**document, **change}))
        with pytest.raises(UsageError, match=r"is not the dataset of --dataset .* prepare both with the same options"):
            check(parse_experiment(arguments(places, balanced=other)))
    with pytest.raises(UsageError, match="has no augmented copies; prepare it with --balance oversample"):
        check(parse_experiment(arguments(places, balanced=places / "plain")))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is no list of changes"),
        ("[]", "is no list of changes"),
        ("{}", "is no list of changes"),
        ('{"changes": [{"name": "x"}]}', "is no list of changes"),
        ('{"changes": [], "bases": {}}', "is no list of changes"),
        ('{"changes": [], "base": {"output": "x"}}', "base: 'output' is not an option of a recipe"),
        ('{"changes": [{"name": "base", "says": "", "options": {}}]}', "has 'base' twice"),
        ('{"changes": [{"name": 5, "says": "", "options": {}}]}', "'5' is no name"),
        ('{"changes": [{"name": "a", "says": "", "options": null}]}', "a: holds no JSON object"),
        (
            '{"changes": [{"name": "a", "says": "", "options": {"output": "x"}}]}',
            "a: 'output' is not an option of a rec",
        ),
        (
            '{"changes": [{"name": "a", "says": "", "options": {"dropout": false}}]}',
            "a: 'dropout' is false; give a num",
        ),
        ('{"changes": [{"name": "a b", "says": "", "options": {}}]}', "'a b' is no name"),
        ('{"changes": [{"name": "a", "says": "", "options": {}, "dataset": "other"}]}', "'other' is no dataset"),
        (
            '{"changes": [{"name": "a", "says": "", "options": {}}, {"name": "a", "says": "", "options": {}}]}',
            "has 'a' twice",
        ),
    ],
)
def test_a_file_that_holds_no_changes_is_refused(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "changes.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=says):
        read_changes(path)


def test_the_recipe_and_changes_of_the_project_are_accepted(places: Path, tmp_path: Path) -> None:
    recipe, changes = (ROOT / "trainer/config" / name for name in ("bespoke.json", "changes.json"))
    found = check(parse_experiment(arguments(places, recipe=recipe, changes=changes)))[2]
    assert {change.dataset for change in found.changes} == {"plain", "balanced", "leaky"}
    # The quick recipe is what changes of the other one are compared with.
    quick = json.loads((ROOT / "trainer/config/quick.json").read_text())
    assert quick == {**json.loads(recipe.read_text()), **found.base}
    larger = tmp_path / "recipe.json"
    larger.write_text(json.dumps({**json.loads(recipe.read_text()), "progressive": "64:0.5"}))
    with pytest.raises(UsageError, match=r"recipe\.json: --progressive 64:0.5: the dataset's images have 32 px"):
        check(parse_experiment(arguments(places, recipe=larger, changes=changes)))


def test_a_spread_needs_every_fold() -> None:
    assert spread([0.5, 0.7]) == {"mean": pytest.approx(0.6), "sd": pytest.approx(0.2 / 2**0.5), "folds": 2}
    assert spread([0.5]) == {"mean": 0.5, "sd": None, "folds": 1}
    assert spread([0.5, None])["mean"] is None
