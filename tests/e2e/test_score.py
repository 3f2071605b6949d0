"""Scoring as a command, run after run: partitions, what is new, kills, ensembles, formats."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow.csv
import pyarrow.dataset
import pyarrow.json
import pytest
from PIL import features

from pipelines.imaging.images import standardize
from tests.support.commands import Command, besides_progress
from tests.support.image_files import OTHER_FILES, RAW_FILES, encode, photograph
from tests.support.killing import kill, stopped
from tests.support.scoring import (
    export_untrained,
    model_json,
    only_partition,
    probabilities,
    rejects,
    scores,
    write_images,
)
from tests.support.tiny_dataset import ASPECT, CLASSES, SIZE, write_dataset


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two models of one dataset."""
    folder = tmp_path_factory.mktemp("models")
    dataset = write_dataset(folder)
    return [export_untrained(dataset, folder / f"model{seed}", seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, a file that is none, one that is cut short, one with an odd name, and a text beside them."""
    folder = tmp_path_factory.mktemp("archive") / "images"
    first, second, *_ = write_images(folder, 70)
    (folder / "broken.jpg").write_bytes(first.read_bytes()[:700])
    (folder / "no image.png").write_bytes(b"text")
    (folder / 'odd, "name"\n ü.jpg').write_bytes(second.read_bytes())
    (folder / "readme.txt").write_text("about")
    return folder


def arguments(source: object, model: object, output: Path, *more: object) -> tuple[object, ...]:
    return ("--input", source, "--model", model, "--output", output, *more)


def score(command: Command, *given: Any) -> subprocess.CompletedProcess[str]:
    done = command("pipelines.score", *arguments(*given))
    assert done.returncode == 0, done.stderr
    return done


def summary(partition: Path) -> dict[str, Any]:
    return json.loads((partition / "_summary.json").read_text())


@pytest.fixture(scope="module")
def scored(command: Command, models: list[Path], archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one model over the archive."""
    output = tmp_path_factory.mktemp("scored") / "scores"
    done = score(command, archive, models[0], output)
    assert besides_progress(done.stderr) == []
    return only_partition(output)


def test_a_zip_gives_the_scores_of_its_folder(
    command: Command, scored: Path, models: list[Path], archive: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "images.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(archive.rglob("*")):
            file.write(path, path.relative_to(archive))
    score(command, packed, models[0], tmp_path / "scores", "--batch_size", 7)
    from_zip, from_folder = scores(only_partition(tmp_path / "scores")), scores(scored)
    assert len(from_folder) == 71
    by_name = {row["path"].removeprefix(f"{archive}/"): row for row in from_folder}
    for row in from_zip:
        other = by_name.pop(row["path"].partition("!/")[2])
        assert row["sha256"] == other["sha256"]
        np.testing.assert_allclose(probabilities(row, CLASSES), probabilities(other, CLASSES), atol=1e-6)
    assert not by_name
    counts = summary(only_partition(tmp_path / "scores"))["counts"]
    assert counts == summary(scored)["counts"]
    assert counts == {"listed": 74, "ignored": 1, "unchanged": 0, "scored": 71, "rejected": 2}
    reasons = {line["path"].rpartition("/")[2]: line["reason"] for line in rejects(scored)}
    assert reasons == {"broken.jpg": "undecodable", "no image.png": "not_an_image"}


def test_every_format_is_scored_as_the_pixels_that_prepare_makes_of_it(
    command: Command, models: list[Path], tmp_path: Path
) -> None:
    files = {
        **OTHER_FILES,
        "cmyk": RAW_FILES["cmyk"],
        "ycck": RAW_FILES["ycck"],
        "png 16": RAW_FILES["png 16 bit grey"],
    }
    if features.check("avif"):
        files["avif"] = encode(photograph(130, 170), "AVIF")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(f"files/{name}", data)
            # The same pixels, which need not be resized.
            archive.writestr(f"pixels/{name}.png", encode(standardize(data, SIZE, ASPECT), "PNG"))
    score(command, tmp_path / "archive.zip", models[0], tmp_path / "scores")
    assert rejects(only_partition(tmp_path / "scores")) == []
    found = {
        row["path"].partition("!/")[2]: probabilities(row, CLASSES)
        for row in scores(only_partition(tmp_path / "scores"))
    }
    assert len(found) == 2 * len(files)
    for name in files:
        np.testing.assert_allclose(found[f"files/{name}"], found[f"pixels/{name}.png"], atol=1e-6, err_msg=name)
    assert np.std(list(found.values()), axis=0).max() > 0.01


def test_all_models_of_an_ensemble_have_columns_and_the_mean_counts(
    command: Command, scored: Path, models: list[Path], archive: Path, tmp_path: Path
) -> None:
    score(command, archive, models[0], tmp_path / "scores", "--model", models[1], "--flag_sensitivity", 0.9)
    alone = {row["path"]: probabilities(row, CLASSES) for row in scores(scored)}
    rows = scores(only_partition(tmp_path / "scores"))
    assert {row["path"] for row in rows} == set(alone)
    for row in rows:
        each = [probabilities(row, CLASSES, f"__{number}") for number in (1, 2)]
        np.testing.assert_allclose(each[0], alone[row["path"]], atol=1e-6)
        np.testing.assert_allclose(probabilities(row, CLASSES), np.mean(each, axis=0), atol=1e-6)
        assert row["flagged"] == (row["malignancy_score"] >= np.float32(0.03))
    assert np.abs(each[0] - each[1]).max() > 0.01


def test_tta_is_the_mean_over_the_symmetries_of_the_standardised_image(
    command: Command, models: list[Path], archive: Path, tmp_path: Path
) -> None:
    import tensorflow as tf

    score(command, archive, models[0], tmp_path / "scores", "--tta")
    model = tf.saved_model.load(str(models[0]))
    rows = scores(only_partition(tmp_path / "scores"))
    for row in rows[:5]:
        with open(row["path"], "rb") as file:
            pixels = model.signatures["standardize"](image_bytes=tf.constant(file.read()))["image"].numpy()
        views = [np.rot90(side, turns) for turns in range(4) for side in (pixels, pixels[:, ::-1])]
        each = model.signatures["classify"](image=tf.constant(np.stack(views)))["probabilities"].numpy()
        np.testing.assert_allclose(probabilities(row, CLASSES), each.mean(axis=0), atol=1e-5)
    assert each.std(axis=0).max() > 1e-4
    said = summary(only_partition(tmp_path / "scores"))
    assert said["run"]["tta"] is True
    # The operating points of eight views.
    assert said["flag"]["threshold"] == 0.02
    assert {row["flag_threshold"] for row in rows} == {np.float32(0.02)}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_other_formats_hold_the_same_rows(
    command: Command, scored: Path, models: list[Path], archive: Path, tmp_path: Path, kind: str
) -> None:
    score(command, archive, models[0], tmp_path / "scores", "--format", kind)
    (path,) = only_partition(tmp_path / "scores").glob(f"scores-*.{kind}")
    options = pyarrow.csv.ParseOptions(newlines_in_values=True)
    table = (
        pyarrow.csv.read_csv(path, parse_options=options) if kind == "csv" else pyarrow.json.read_json(path)
    ).to_pylist()
    expected = {row["path"]: row for row in scores(scored)}
    assert {row["path"] for row in table} == set(expected)
    for row in table:
        other = expected[row["path"]]
        assert list(row) == list(other)
        for name in ("image_id", "size", "sha256", "width", "height", "top_class", "flagged", "model_fingerprint"):
            assert row[name] == other[name]
        for name in ("malignancy_score", "entropy", "probability_nevus"):
            assert np.float32(row[name]) == np.float32(other[name])


def test_a_run_describes_itself(scored: Path, models: list[Path]) -> None:
    info, said = model_json(models[0]), summary(scored)
    assert said["models"][0]["fingerprint"] == info["model_fingerprint"]
    assert said["models"][0]["metrics"] == info["metrics"]
    assert said["run"]["name"] == scored.name.removeprefix("run=")
    rows = scores(scored)
    assert {row["model_fingerprint"] for row in rows} == {info["model_fingerprint"]}
    assert {row["run_fingerprint"] for row in rows} == {said["run"]["fingerprint"]}
    top = {name: sum(row["top_class"] == name for row in rows) for name in CLASSES}
    assert said["top_class"] == top
    mean = np.mean([probabilities(row, CLASSES) for row in rows], axis=0, dtype=float)
    assert said["drift"]["scored"] == pytest.approx(dict(zip(CLASSES, mean, strict=True)), abs=1e-6)
    assert said["drift"]["train"] == info["train_class_distribution"]
    assert set(said["stage_seconds"]) >= {"read", "score", "write"}
    assert 0 < said["startup_seconds"] < said["seconds"]
    assert said["images_per_second"] > said["counts"]["scored"] / said["seconds"]
    for row in rows:
        values = probabilities(row, CLASSES).astype(float)
        assert row["entropy"] == pytest.approx(-(values * np.log2(values)).sum(), abs=1e-4)
        assert row["malignancy_score"] == pytest.approx(values[CLASSES.index("melanoma")], abs=1e-6)
        assert row["size"] == os.path.getsize(row["path"])
        assert row["flag_threshold"] == np.float32(0.01)
        assert row["flagged"] == (row["malignancy_score"] >= row["flag_threshold"])
    flagged = sum(row["flagged"] for row in rows)
    assert 0 < flagged < len(rows)
    own = next(point for point in info["operating_points"]["one_view"] if point["target"] == 0.95)
    expected = {"flagged": flagged, "threshold": 0.01, "target_sensitivity": 0.95, "validation": [own]}
    assert said["flag"] == expected


@pytest.fixture(scope="module")
def nights(
    command: Command, models: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Path, list[Any]]:
    """Three nights over one folder, the second killed once. Gives the output and what each night printed."""
    folder = tmp_path_factory.mktemp("nights")
    images, output = folder / "images", folder / "scores"
    first = write_images(images, 40)
    said: list[Any] = [score(command, images, models[0], output, "--previous", output, "--run", "2026-01-01").stdout]
    write_images(images, 5, first=100)
    first[3].write_bytes(first[4].read_bytes())
    (images / "bad.jpg").write_bytes(b"bad")
    night = arguments(images, models[0], output, "--previous", output, "--max_reject_fraction", 0.5)
    moment = ("pipelines.score", "replace", "scores-00000-of-00001.parquet")
    with stopped(*moment, *night, "--run", "2026-01-02") as process:
        said.append(sorted(path.name for path in output.iterdir()))
        beside = [(process.pid, command("pipelines.score", *night, "--run", name)) for name in ("2026-01-02", "other")]
    kill("pipelines.score", "replace", "run=2026-01-02/_summary.json", *night, "--run", "2026-01-02")
    said.append(sorted(path.relative_to(output).as_posix() for path in output.glob("*/*")))
    for name in ("2026-01-03", "2026-01-04"):
        done = command("pipelines.score", *night, "--run", name)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    return images, output, first[3], [*said, beside]


def test_each_night_scores_what_is_new_or_changed(nights: tuple[Path, Path, Path, list[str]]) -> None:
    images, output, changed, said = nights
    assert "scored 40" in said[0]
    assert len(scores(output / "run=2026-01-01")) == 40
    second = scores(output / "run=2026-01-02")
    assert {row["path"] for row in second} == {str(changed)} | {str(path) for path in images.rglob("ISIC_00001*")}
    counts = summary(output / "run=2026-01-02")["counts"]
    assert counts == {"listed": 46, "ignored": 0, "unchanged": 39, "scored": 6, "rejected": 1}


def test_a_killed_night_looks_unfinished_and_is_made_up_for(nights: tuple[Path, Path, Path, list[str]]) -> None:
    said = nights[3]
    assert said[1] == [".unfinished", "run=2026-01-01"]
    assert ".unfinished/claim.json" in said[2]
    assert "run=2026-01-02/scores-00000-of-00001.parquet" in said[2]
    assert "run=2026-01-02/_summary.json" not in said[2]
    assert "run 2026-01-02 had been interrupted at its very end and is now finished" in said[3]


def test_a_night_beside_another_is_refused_whatever_its_name(nights: tuple[Path, Path, Path, list[Any]]) -> None:
    _, output, _, said = nights
    for process, done in said[5]:
        assert (done.returncode, done.stdout, len(besides_progress(done.stderr))) == (2, "", 1)
        assert f"--output {output}: is being written by process {process} on " in done.stderr


def test_a_night_without_news_says_so_and_writes_nothing(nights: tuple[Path, Path, Path, list[str]]) -> None:
    _, output, _, said = nights
    assert "nothing new: all 46 images were scored or rejected before" in said[3]
    assert said[4] == "nothing new: all 46 images were scored or rejected before\n"
    assert sorted(path.name for path in output.iterdir()) == ["run=2026-01-01", "run=2026-01-02"]


def test_partitions_read_as_one_table_have_every_version_of_every_image_once(
    nights: tuple[Path, Path, Path, list[str]],
) -> None:
    _, output, changed, _ = nights
    table = pyarrow.dataset.dataset(output, partitioning="hive")
    rows = table.to_table(columns=["path", "sha256", "run"]).to_pylist()
    assert len({(row["path"], row["sha256"]) for row in rows}) == len(rows) == 46
    assert sum(row["path"] == str(changed) for row in rows) == 2
    assert len(pandas.read_parquet(output)) == 46


def test_what_is_no_table_has_a_name_that_readers_of_folders_skip(
    nights: tuple[Path, Path, Path, list[str]],
) -> None:
    """Spark, Hive, pandas and pyarrow skip what begins with `_` or `.`."""
    _, output, _, _ = nights
    names = {path.name.partition("-")[0] for path in output.rglob("*") if path.is_file()}
    assert names == {"scores", "_rejects", "_seen", "_failed", "_summary.json"}


def test_another_threshold_is_no_reason_to_score_again(
    command: Command, nights: tuple[Path, Path, Path, list[str]], models: list[Path], tmp_path: Path
) -> None:
    images, output, _, _ = nights
    given = ("--previous", output, "--flag_threshold", 0.7)
    done = score(command, images, models[0], tmp_path / "other", *given)
    assert done.stdout == "nothing new: all 46 images were scored or rejected before\n"


def test_another_model_scores_everything_again(
    command: Command, nights: tuple[Path, Path, Path, list[str]], models: list[Path], tmp_path: Path
) -> None:
    images, output, _, _ = nights
    done = score(command, images, models[1], tmp_path / "other", "--previous", output, "--flag_threshold", 0.5)
    assert "listed 46 = scored 45 + rejected 1" in done.stdout
    rows = scores(only_partition(tmp_path / "other"))
    assert [row["flagged"] for row in rows] == [row["malignancy_score"] >= np.float32(0.5) for row in rows]
    flagged = sum(row["flagged"] for row in rows)
    assert 0 < flagged < 45
    assert f"flagged {flagged} of 45: malignancy score of 0.5 or more\n" in done.stdout


def test_a_run_of_this_name_is_replaced_only_when_told_to(
    command: Command, scored: Path, models: list[Path], archive: Path, tmp_path: Path
) -> None:
    output = tmp_path / "scores"
    shutil.copytree(scored, output / "run=a")
    before = (output / "run=a" / "_summary.json").read_bytes()
    refused = command("pipelines.score", *arguments(archive, models[0], output, "--run", "a"))
    assert (refused.returncode, "--overwrite" in refused.stderr) == (2, True)
    assert (output / "run=a" / "_summary.json").read_bytes() == before
    again = command("pipelines.score", *arguments(archive, models[0], output, "--run", "a", "--overwrite"))
    assert again.returncode == 0, again.stderr
    assert (output / "run=a" / "_summary.json").read_bytes() != before
    assert len(scores(output / "run=a")) == 71


WRONG = {
    "no earlier run": (["--previous", "{tmp}/other"], "--previous {tmp}/other: holds no finished run"),
    "name": (["--run", "../x"], "--run '../x': letters"),
    "twice": (["--model", "{model}"], "--model {model}: is the same model"),
    "top": (["--report_top", "0"], "--report_top 0"),
    "threshold": (["--drift_threshold", "0"], "--drift_threshold 0"),
    "format": (["--format", "xml"], "--format"),
    "sensitivity": (["--flag_sensitivity", "0.8"], "0.8: {model} has no operating point for it, those for 0.9, 0.95;"),
    "output in input": (["--output", "{archive}"], "--output {archive}: is also an input"),
    "other weights": (
        ["--model", "{tmp}/swapped"],
        "--model {tmp}/swapped: variables/variables.data-00000-of-00001 is",
    ),
    "fingerprint": (["--model_fingerprint", "0" * 64], "--model_fingerprint " + "0" * 64 + ": {model} has "),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_one_line_exit_2_and_nothing_written(
    command: Command, models: list[Path], archive: Path, tmp_path: Path, name: str
) -> None:
    if name == "other weights":
        shutil.copytree(models[0], tmp_path / "swapped")
        shutil.copytree(models[1] / "variables", tmp_path / "swapped" / "variables", dirs_exist_ok=True)
    places = {"tmp": tmp_path, "model": models[0], "archive": archive}
    more, says = [text.format(**places) for text in WRONG[name][0]], WRONG[name][1].format(**places)
    given = {"--input": archive, "--model": models[0], "--output": tmp_path / "out"}
    before = sorted(tmp_path.rglob("*"))
    kept = [part for option in given.items() if option[0] not in more or name == "twice" for part in option]
    done = command("pipelines.score", *kept, *more)
    assert done.returncode == 2, done.stderr
    assert len(besides_progress(done.stderr)) == 1, done.stderr
    assert says in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
