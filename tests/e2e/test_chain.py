"""prepare -> train -> evaluate -> score, each as its command, on the sample archive."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.commands import Command, besides_progress
from tests.support.scoring import model_json, only_partition, probabilities, rejects, scores

SIZE = 48
IMAGES = (".jpg", ".jpeg", ".png")


@pytest.fixture(scope="module")
def chain(command: Command, process: Command, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with `dataset` and `train`, made by the commands."""
    folder = tmp_path_factory.mktemp("chain")
    metadata = ("--metadata", sample / "metadata.csv")
    done = command(
        *("pipelines.prepare", "--input", sample / "images", *metadata, "--output", folder / "dataset"),
        *("--image_size", SIZE),
    )
    assert done.returncode == 0, done.stderr
    done = process(
        *("trainer.task", "--dataset", folder / "dataset", "--output", folder / "train", "--epochs", 8, "--width", 0.5)
    )
    assert done.returncode == 0, done.stderr
    shutil.copytree(folder / "train" / "model", folder / "damaged")
    (folder / "damaged" / "saved_model.pb").write_bytes(b"junk")
    return folder


@pytest.fixture(scope="module")
def scored(process: Command, chain: Path, sample: Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The archive's scores and how the command ended."""
    output = chain / "scores"
    archive, model = sample / "archive", chain / "train" / "model"
    done = process("pipelines.score", "--input", archive, "--model", model, "--output", output, "--batch_size", 16)
    return only_partition(output), done


@pytest.fixture(scope="module")
def evaluated(process: Command, chain: Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The evaluation of the test split and how the command ended."""
    output = chain / "evaluation"
    return output, process(
        *("trainer.evaluate", "--dataset", chain / "dataset", "--model", chain / "train" / "model", "--output", output)
    )


def trained_model(chain: Path) -> dict[str, Any]:
    return model_json(chain / "train" / "model")


def test_promise_4_the_record_path_and_the_serving_signature_agree(chain: Path, sample: Path) -> None:
    """The same file through prepare's record and as raw bytes: the same pixels, so the same probabilities."""
    import tensorflow as tf

    model = tf.saved_model.load(str(chain / "train" / "model"))
    rows = {
        row["sha256"]: row["path"]
        for row in pq.read_table(next((chain / "dataset").glob("manifest-*"))).to_pylist()
        if row["outcome"] == "written"
    }
    encoded, raw = [], []
    for shard in sorted((chain / "dataset").glob("*.tfrecord")):
        for record in tf.data.TFRecordDataset(str(shard)).as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            if features["image/augmentation/copy"].int64_list.value[0] == 0:
                encoded.append(features["image/encoded"].bytes_list.value[0])
                with open(rows[features["image/key/sha256"].bytes_list.value[0].decode()], "rb") as file:
                    raw.append(file.read())
    assert len(encoded) == len(rows) > 100
    oriented = set(json.loads((sample / "sample.json").read_text())["oriented"])
    assert oriented  # a file with an EXIF orientation is among them
    by_record = model.signatures["records"](image_encoded=tf.constant(encoded))["probabilities"].numpy()
    by_serving = model.signatures["serving_default"](image_bytes=tf.constant(raw))["probabilities"].numpy()
    np.testing.assert_allclose(by_serving, by_record, atol=1e-5)
    np.testing.assert_allclose(by_serving.sum(axis=1), 1, atol=1e-5)
    assert by_serving.std(axis=0).max() > 0.05
    pixels = tf.stack([model.signatures["standardize"](image_bytes=tf.constant(data))["image"] for data in raw[:20]])
    by_halves = model.signatures["classify"](image=pixels)["probabilities"].numpy()
    np.testing.assert_allclose(by_halves, by_record[:20], atol=1e-5)


def test_evaluate_reads_the_same_model_and_split(
    evaluated: tuple[Path, subprocess.CompletedProcess[str]], chain: Path
) -> None:
    output, done = evaluated
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("balanced accuracy")
    evaluation = json.loads((output / "evaluation.json").read_text())
    dataset = json.loads((chain / "dataset" / "dataset.json").read_text())
    assert evaluation["images"] == dataset["splits"]["test"]["originals"]
    assert evaluation["model"]["fingerprint"] == trained_model(chain)["model_fingerprint"]
    assert (output / "confusion_matrix.png").stat().st_size > 1000


def test_every_archive_file_is_scored_or_rejected_with_a_reason(
    scored: tuple[Path, subprocess.CompletedProcess[str]], chain: Path, sample: Path
) -> None:
    output, done = scored
    assert done.returncode == 0, done.stderr
    assert besides_progress(done.stderr) == []
    listed = {str(path) for path in (sample / "archive").rglob("*") if path.suffix.lower() in IMAGES}
    rows, refused = scores(output), rejects(output)
    assert sorted([row["path"] for row in rows] + [line["path"] for line in refused]) == sorted(listed)
    summary = json.loads((output / "_summary.json").read_text())
    assert summary["counts"] == {
        "listed": len(listed),
        "ignored": 0,
        "unchanged": 0,
        "scored": len(rows),
        "rejected": len(refused),
    }
    expected = json.loads((sample / "sample.json").read_text())["archive_troubles"]
    assert {(line["path"], line["reason"]) for line in refused} == {
        (str(sample / trouble["path"]), trouble["reason"]) for trouble in expected
    }
    assert summary["images_per_second"] > 0
    assert summary["models"][0]["fingerprint"] == trained_model(chain)["model_fingerprint"]


def test_scores_are_what_the_model_says(scored: tuple[Path, subprocess.CompletedProcess[str]], chain: Path) -> None:
    import tensorflow as tf

    model = tf.saved_model.load(str(chain / "train" / "model"))
    info = trained_model(chain)
    rows = scores(scored[0])
    raw = []
    for row in rows:
        with open(row["path"], "rb") as file:
            raw.append(file.read())
    expected = model.signatures["serving_default"](image_bytes=tf.constant(raw))["probabilities"].numpy()
    for row, wanted in zip(rows, expected, strict=True):
        found = probabilities(row, info["classes"])
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        frequencies = np.array([info["calibration"]["prior"][name] for name in info["classes"]])
        multiples = np.divide(found, frequencies, out=np.zeros_like(found), where=frequencies > 0)
        assert row["top_class"] == info["classes"][int(multiples.argmax())]
        malignant = [info["classes"].index(name) for name in info["malignant_classes"]]
        assert row["malignancy_score"] == pytest.approx(found[malignant].sum(), abs=1e-6)
        assert row["model_fingerprint"] == info["model_fingerprint"]


def test_bad_images_take_no_good_one_with_them(
    command: Command, scored: tuple[Path, subprocess.CompletedProcess[str]], chain: Path, sample: Path, tmp_path: Path
) -> None:
    """Every kind of bad file in one batch with good ones; two workers give the scores that one gave."""
    archive = tmp_path / "archive"
    shutil.copytree(sample / "archive", archive)
    good = next(path for path in archive.rglob("*.jpg") if path.stat().st_size > 2000)
    bad = {
        "empty.jpg": (b"", "empty_file"),
        "text.png": (b"text", "not_an_image"),
        "gif.jpg": (b"GIF89a" + b"\0" * 100, None),
        "headless.jpg": (good.read_bytes()[:700], None),
        "cut.jpg": (good.read_bytes()[: good.stat().st_size // 2], "undecodable"),
    }
    for name, (data, _) in bad.items():
        (archive / name).write_bytes(data)
    output = tmp_path / "scores"
    done = command(
        *("pipelines.score", "--input", archive, "--model", chain / "train" / "model", "--output", output),
        *("--direct_running_mode", "multi_processing", "--direct_num_workers", 2),
    )
    assert done.returncode == 0, done.stderr
    reasons = {line["path"].rpartition("/")[2]: line["reason"] for line in rejects(only_partition(output))}
    assert set(bad) <= set(reasons)
    assert all(reason in (None, reasons[name]) for name, (_, reason) in bad.items())
    classes = trained_model(chain)["classes"]
    before = {row["sha256"]: probabilities(row, classes) for row in scores(scored[0])}
    after = {row["sha256"]: probabilities(row, classes) for row in scores(only_partition(output))}
    assert set(after) == set(before)
    for sha256, values in after.items():
        np.testing.assert_allclose(values, before[sha256], atol=1e-5)


def test_globs_and_files_are_inputs_and_what_overlaps_is_scored_once(
    command: Command, chain: Path, sample: Path, tmp_path: Path
) -> None:
    one = next((sample / "archive" / "2024").rglob("*.png"))
    done = command(
        *(
            "pipelines.score",
            "--input",
            one,
            "--input",
            f"{sample}/archive/2024/*",
            "--input",
            f"{sample}/archive/2024",
        ),
        *("--model", chain / "train" / "model", "--output", tmp_path / "scores"),
    )
    assert done.returncode == 0, done.stderr
    listed = {str(path) for path in (sample / "archive" / "2024").rglob("*") if path.suffix.lower() in IMAGES}
    partition = only_partition(tmp_path / "scores")
    found = [row["path"] for row in scores(partition) + rejects(partition)]
    assert sorted(found) == sorted(listed)
    assert len(listed) > 1


def test_too_many_rejects_is_exit_1_with_every_score_written(
    command: Command, scored: tuple[Path, subprocess.CompletedProcess[str]], chain: Path, sample: Path, tmp_path: Path
) -> None:
    done = command(
        *("pipelines.score", "--input", sample / "archive", "--model", chain / "train" / "model"),
        *("--output", tmp_path / "scores", "--max_reject_fraction", 0),
    )
    assert done.returncode == 1
    assert len(besides_progress(done.stderr)) == 1
    assert len(scores(only_partition(tmp_path / "scores"))) == len(scores(scored[0]))


BAD = {
    "missing input": (["--input", "{tmp}/missing"], "--input {tmp}/missing: no such file or folder"),
    "no such model": (["--model", "{tmp}/missing"], "--model {tmp}/missing: is no model"),
    "dataset as model": (["--model", "{chain}/dataset/transform_fn"], "not from trainer.task"),
    "damaged model": (["--model", "{chain}/damaged"], "--model {chain}/damaged: saved_model.pb is not the file that"),
    "batch": (["--batch_size", "0"], "--batch_size 0"),
    "unknown option": (["--ttta"], "--ttta"),
    "foreign output": (["--output", "{tmp}/foreign"], "is not empty"),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_use_of_score_is_one_line_exit_2_and_nothing_written(
    command: Command, chain: Path, sample: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("mine")
    places = {"tmp": tmp_path, "chain": chain}
    more, says = [text.format(**places) for text in BAD[name][0]], BAD[name][1].format(**places)
    given = {"--input": sample / "archive", "--model": chain / "train" / "model", "--output": tmp_path / "out"}
    before = sorted(tmp_path.rglob("*"))
    done = command(
        "pipelines.score", *(part for option in given.items() if option[0] not in more for part in option), *more
    )
    assert done.returncode == 2, done.stderr
    assert len(besides_progress(done.stderr)) == 1, done.stderr
    assert says in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_the_summary_of_a_run_names_figures_and_places_of_each_step(
    command: Command,
    chain: Path,
    evaluated: tuple[Path, subprocess.CompletedProcess[str]],
    scored: tuple[Path, subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    done = command("pipelines.demo.run_summary", chain)
    assert done.returncode == 0, done.stderr
    counts = json.loads((chain / "dataset" / "dataset.json").read_text())["counts"]
    assert f"prepare: files read {counts['listed'] - counts['ignored']}" in " ".join(done.stdout.split())
    for line in ("balanced accuracy", "images/s", str(chain / "train" / "model"), str(chain / "scores")):
        assert line in done.stdout
    refused = command("pipelines.demo.run_summary", tmp_path)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert "dataset/dataset.json" in refused.stderr


def test_help_of_score_has_defaults_and_exit_codes(command: Command) -> None:
    done = command("pipelines.score", "--help")
    assert done.returncode == 0
    assert "(default: 32)" in " ".join(done.stdout.split())
    assert "exit codes" in done.stdout
