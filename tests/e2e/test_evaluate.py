"""`python -m trainer.evaluate` on a small dataset and a real SavedModel, as a user runs it.

The model knows three colours, one per class, and says how near a picture's mean colour is to each. The pictures of
the test split have known colours, so every figure is known beforehand.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from PIL import Image

from pipelines.common.claimed_folder import claimed_folder
from pipelines.common.cli import UsageError
from tests.support.commands import besides_progress
from tests.support.documents import change_model, dataset_document, model_document, shard_entry, write_model_json
from tests.support.scoring import model_json
from trainer.evaluate import command as evaluate_command
from trainer.evaluate.options import EvaluateOptions
from trainer.export.train_images import TRAIN_IMAGES, train_images

CLASSES = ["melanoma", "nevus", "vascular lesion"]
COLOURS = np.array([[0.2, 0.1, 0.1], [0.6, 0.4, 0.2], [0.8, 0.1, 0.4]])
# (true class, class whose colour it has, lesion) of every picture in the test split.
TEST = [(0, 0, "L0"), (0, 0, "L0"), (0, 1, "L1"), (0, 0, "L2"), (1, 1, "L3"), (1, 1, "L4"), (2, 2, "L5"), (2, 0, "L6")]
SIZE = 16


class ColourModel(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_encoded")])
    def records(self, image_encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        def mean_colour(data: tf.Tensor) -> tf.Tensor:
            return tf.reduce_mean(tf.cast(tf.io.decode_jpeg(data, channels=3), tf.float32) / 255.0, axis=[0, 1])

        colours = tf.map_fn(mean_colour, image_encoded, fn_output_signature=tf.float32)
        distance = tf.norm(colours[:, None] - tf.constant(COLOURS, tf.float32), axis=-1)
        return {"probabilities": tf.nn.softmax(-20.0 * distance)}


class Empty(tf.Module):
    pass


def example(number: int, label: int, colour: int, lesion: str, copy: int = 0) -> bytes:
    pixels = np.full((SIZE, SIZE, 3), np.round(255 * COLOURS[colour]), np.uint8)
    pixels[number % SIZE, number // SIZE] = 255
    encoded = tf.io.encode_jpeg(pixels, quality=95).numpy()

    def text(value: str) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))

    def integer(value: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    features = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded])),
        "image/format": text("jpeg"),
        "image/height": integer(SIZE),
        "image/width": integer(SIZE),
        "image/key/sha256": text(f"{number:064x}"),
        "image/source_id": text(f"ISIC_{number:07d}"),
        "image/class/label": integer(label),
        "image/class/text": text(CLASSES[label]),
        "image/lesion_id": text(lesion),
        "image/group_id": text(f"lesion:{lesion}"),
        "image/augmentation/copy": integer(copy),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_split(root: Path, name: str, rows: list[tuple[int, int, str, int]], shards: int = 2) -> dict[str, Any]:
    """`rows`: (label, colour, lesion, copy). Returns the split's part of dataset.json."""
    names = [f"{name}-{k:05d}-of-{shards:05d}.tfrecord" for k in range(shards)]
    for k, shard in enumerate(names):
        with tf.io.TFRecordWriter(str(root / shard)) as writer:
            for number, row in list(enumerate(rows))[k::shards]:
                writer.write(example(number, *row))
    counts = {
        name: {
            "originals": sum(row[0] == label and row[3] == 0 for row in rows),
            "examples": sum(row[0] == label for row in rows),
        }
        for label, name in enumerate(CLASSES)
    }
    return {
        "shards": [shard_entry(root / shard, len(rows[k::shards])) for k, shard in enumerate(names)],
        "originals": sum(row[3] == 0 for row in rows),
        "examples": len(rows),
        "bytes": sum((root / shard).stat().st_size for shard in names),
        "per_class": counts,
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dataset")
    train = [(label, label, f"T{label}", copy) for label in range(3) for copy in (0, 1, 2)]
    splits = {
        "train": write_split(root, "train", train),
        "validation": write_split(root, "validation", []),
        "test": write_split(root, "test", [(*row, 0) for row in TEST]),
    }
    for name in ("transform_fn", "standardize_fn"):
        tf.saved_model.save(Empty(), str(root / name))
    (root / "dataset.json").write_text(json.dumps(dataset_document(CLASSES, ["melanoma"], SIZE, splits)))
    return root


def write_model(root: Path, **changes: Any) -> Path:
    model = ColourModel()
    tf.saved_model.save(model, str(root), signatures={"records": model.records})
    return write_model_json(
        root, model_document(**{"classes": CLASSES, "malignant": ["melanoma"], **changes}, image_size=SIZE)
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trainer.evaluate", *map(str, arguments)], check=False, capture_output=True, text=True
    )


def options(dataset: Path, model: Path, output: Path, **changes: Any) -> EvaluateOptions:
    given: dict[str, Any] = {"bootstrap": 50, **changes}
    return evaluate_command.EvaluateOptions(dataset=str(dataset), model=str(model), output=str(output), **given)


def test_command_writes_known_figures(dataset: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "deep" / "evaluation"
    result = command("--dataset", dataset, "--model", model, "--output", output, "--batch_size", 3)
    assert (result.returncode, besides_progress(result.stderr)) == (0, [])
    assert sorted(path.name for path in output.iterdir()) == [
        "confusion_matrix.png",
        "evaluation.json",
        "predictions.parquet",
        "report.html",
        "report.md",
    ]

    summary = json.loads((output / "evaluation.json").read_text())
    figures = summary["figures"]
    assert summary["split"] == "test"
    assert summary["images"] == 8
    assert summary["images_per_second"] > 0
    assert summary["dataset"]["fingerprint"] == "d" * 64
    assert summary["model"]["fingerprint"] == model_json(model)["model_fingerprint"]
    assert summary["trained_on_this_dataset"] is True
    assert summary["options"]["bootstrap"] == 1000
    assert summary["options"]["batch_size"] == 3
    assert figures["confusion_matrix"] == [[3, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert figures["balanced_accuracy"]["value"] == pytest.approx((3 / 4 + 1 + 1 / 2) / 3)
    assert figures["balanced_accuracy"]["low"] < figures["balanced_accuracy"]["value"]
    assert figures["per_class"]["melanoma"]["n"] == 4
    assert figures["per_class"]["melanoma"]["groups"] == 3
    assert figures["sensitivity_at_specificity"]["melanoma"]["n"] == 4

    lines = result.stdout.splitlines()
    assert lines[0].startswith("balanced accuracy  0.750 (")
    assert any(line.startswith("melanoma sensitivity at 90% specificity") for line in lines)
    assert [line.split("  ")[0] for line in lines if line.startswith(tuple(CLASSES))][-3:] == CLASSES
    assert "Fewer than 10 lesions of melanoma, nevus, vascular lesion" in result.stdout
    with Image.open(output / "confusion_matrix.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300


def test_predictions_have_a_row_per_image_in_file_order(
    dataset: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate_command.run(options(dataset, model, tmp_path))
    table = pq.read_table(tmp_path / "predictions.parquet").to_pydict()
    assert list(table) == [
        *("source_id", "sha256", "lesion_id", "group_id", "label", "class", "top_class"),
        *(f"probability_{name.replace(' ', '_')}" for name in CLASSES),
        "model_fingerprint",
    ]
    assert set(table["model_fingerprint"]) == {model_json(model)["model_fingerprint"]}
    order = [*range(0, 8, 2), *range(1, 8, 2)]
    assert table["source_id"] == [f"ISIC_{k:07d}" for k in order]
    assert table["sha256"] == [f"{k:064x}" for k in order]
    assert table["label"] == [TEST[k][0] for k in order]
    assert table["class"] == [CLASSES[TEST[k][0]] for k in order]
    assert table["top_class"] == [CLASSES[TEST[k][1]] for k in order]
    assert table["lesion_id"] == [TEST[k][2] for k in order]
    assert table["group_id"] == [f"lesion:{TEST[k][2]}" for k in order]
    sums = np.sum([table[f"probability_{name.replace(' ', '_')}"] for name in CLASSES], axis=0)
    assert sums == pytest.approx(np.ones(8), abs=1e-5)


def test_train_split_counts_originals_only(
    dataset: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = evaluate_command.run(options(dataset, model, tmp_path, split="train", batch_size=2, allow_seen=True))
    assert result["images"] == result["seen_images"] == 3
    assert result["figures"]["confusion_matrix"] == np.eye(3).tolist()


def test_batch_size_does_not_change_figures_and_seed_only_intervals(
    dataset: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = evaluate_command.run(options(dataset, model, tmp_path / "1", batch_size=1))["figures"]
    many = evaluate_command.run(options(dataset, model, tmp_path / "2", batch_size=100))["figures"]
    assert one["confusion_matrix"] == many["confusion_matrix"]
    assert one["balanced_accuracy"] == many["balanced_accuracy"]
    none = evaluate_command.run(options(dataset, model, tmp_path / "3", bootstrap=0))["figures"]
    assert none["balanced_accuracy"] == {**one["balanced_accuracy"], "low": None, "high": None}


def test_model_of_another_dataset_is_warned_about(dataset: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "model", dataset_fingerprint="f" * 64)
    result = command("--dataset", dataset, "--model", other, "--output", tmp_path / "out", "--bootstrap", 0)
    assert result.returncode == 0
    (warning,) = besides_progress(result.stderr)
    assert warning.startswith("trainer.evaluate: warning: the model was trained on another dataset")
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["trained_on_this_dataset"] is False


def test_images_of_another_dataset_that_the_model_was_trained_on_are_refused_unless_allowed(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_model(tmp_path / "model", dataset_fingerprint="f" * 64)

    def trained_on(*images: tuple[int, str], name: str = "photograph") -> None:
        contents, lesions = [f"{number:064x}" for number, _ in images], [lesion for _, lesion in images]
        (other / TRAIN_IMAGES).write_bytes(train_images(contents, [name], lesions).as_bytes())
        change_model(other)

    # One by its content; another of the lesion of two; of a third, nothing but that its lesion is not known.
    trained_on((6, "elsewhere"), (70, "L0"), (71, ""))
    says = f"--dataset {dataset}: the model was trained on 3 of these 8 images or on others of their lesions"
    with pytest.raises(UsageError) as refused:
        evaluate_command.run(options(dataset, other, tmp_path / "out"))
    assert str(refused.value).startswith(f"{says}; ")
    assert "--allow_seen" in str(refused.value)
    assert not (tmp_path / "out").exists()
    result = evaluate_command.run(options(dataset, other, tmp_path / "out", allow_seen=True))
    assert (result["seen_images"], result["options"]["allow_seen"]) == (3, True)
    assert besides_progress(capsys.readouterr().err) == [f"warning: {says}"]
    for report in ("report.md", "report.html"):
        assert "The model was trained on 3 of these 8 images" in (tmp_path / "out" / report).read_text()
    trained_on((70, "elsewhere"))
    assert evaluate_command.run(options(dataset, other, tmp_path / "unseen"))["seen_images"] == 0
    assert besides_progress(capsys.readouterr().err) == []
    assert "**" not in (tmp_path / "unseen" / "report.md").read_text().split("| Figure")[0]
    # The archive has an image with other bytes now.
    trained_on((70, "elsewhere"), name="ISIC_0000003")
    with pytest.raises(UsageError, match="trained on 1 of these 8 images"):
        evaluate_command.run(options(dataset, other, tmp_path / "again"))
    (other / TRAIN_IMAGES).write_bytes(b"PK")
    with pytest.raises(UsageError, match=rf"--model {other}: {TRAIN_IMAGES} is not the file that was exported"):
        evaluate_command.run(options(dataset, other, tmp_path / "damaged"))


def test_overwrite_keeps_other_files_and_is_needed(
    dataset: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate_command.run(options(dataset, model, tmp_path))
    (tmp_path / "notes.txt").write_text("mine")
    before = (tmp_path / "evaluation.json").read_bytes()
    with pytest.raises(UsageError, match="--overwrite"):
        evaluate_command.run(options(dataset, model, tmp_path))
    assert (tmp_path / "evaluation.json").read_bytes() == before
    evaluate_command.run(options(dataset, model, tmp_path, overwrite=True, seed=1))
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert json.loads((tmp_path / "evaluation.json").read_text())["options"]["seed"] == 1


def test_interrupted_run_is_repeated_without_overwrite(
    dataset: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "confusion_matrix.png").write_bytes(b"")
    (tmp_path / ".evaluation.json.partial").write_bytes(b"{")
    evaluate_command.run(options(dataset, model, tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["confusion_matrix.png", "evaluation.json", "predictions.parquet", "report.html", "report.md"]
    )


def test_an_output_that_another_evaluation_has_is_refused(dataset: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for overwrite in (False, True):
        with (
            claimed_folder(str(output)),
            pytest.raises(UsageError, match=f"--output {output}: is being written by process "),
        ):
            evaluate_command.run(options(dataset, model, output, overwrite=overwrite))
        assert not output.exists()


def damaged(kind: str, dataset: Path, model: Path, tmp_path: Path) -> tuple[dict[str, Any], list[str]]:
    """Arguments of a wrong use, and what its message must say."""
    arguments = {"--dataset": dataset, "--model": model, "--output": tmp_path / "out"}
    if kind == "no dataset":
        return {**arguments, "--dataset": tmp_path / "nowhere"}, ["--dataset", "nowhere"]
    if kind == "unfinished dataset":
        (tmp_path / "unfinished").mkdir()
        return {**arguments, "--dataset": tmp_path / "unfinished"}, ["--dataset", "dataset.json"]
    if kind == "no model":
        return {**arguments, "--model": tmp_path / "nowhere"}, ["--model", "nowhere"]
    if kind == "directory that is no model":
        return {**arguments, "--model": dataset}, ["--model", "saved_model.pb"]
    if kind == "saved model without our assets":
        tf.saved_model.save(Empty(), str(tmp_path / "plain"))
        return {**arguments, "--model": tmp_path / "plain"}, ["--model", "model.json"]
    if kind == "damaged model.json":
        other = write_model(tmp_path / "other")
        (other / "assets" / "model.json").write_text("{")
        return {**arguments, "--model": other}, ["--model", "damaged"]
    if kind == "another model":
        return {**arguments, "--model_fingerprint": "0" * 64}, ["--model_fingerprint 000", f"{model} has "]
    if kind == "half a fingerprint":
        return {**arguments, "--model_fingerprint": "0" * 32}, ["--model_fingerprint", "64 hexadecimal digits"]
    if kind == "other classes":
        other = write_model(tmp_path / "other", classes=["melanoma", "nevus", "wart"])
        return {**arguments, "--model": other}, ["--model", "--dataset", "vascular lesion, wart"]
    if kind == "classes in another order":
        other = write_model(tmp_path / "other", classes=CLASSES[::-1])
        return {**arguments, "--model": other}, ["--model", "another order"]
    if kind == "empty split":
        return {**arguments, "--split": "validation"}, ["validation", "empty"]
    if kind == "unknown split":
        return {**arguments, "--split": "holdout"}, ["--split", "holdout"]
    if kind == "batch of none":
        return {**arguments, "--batch_size": 0}, ["--batch_size"]
    if kind == "output is a file":
        (tmp_path / "file").touch()
        return {**arguments, "--output": tmp_path / "file"}, ["--output", "is a file"]
    if kind == "output in use":
        (tmp_path / "used").mkdir()
        (tmp_path / "used" / "notes.txt").touch()
        return {**arguments, "--output": tmp_path / "used"}, ["--output", "--overwrite"]
    if kind == "no option at all":
        return {}, ["--output"]
    if kind in ("dataset not named", "model not named"):
        option = f"--{kind.split()[0]}"
        return {name: value for name, value in arguments.items() if name != option}, [option, "--predictions"]
    if kind == "fold of a dataset without folds":
        return {**arguments, "--fold": 0}, ["--fold 0", "without folds"]
    if kind == "fold and split":
        return {**arguments, "--fold": 0, "--split": "test"}, ["--fold", "--split"]
    if kind == "metadata that is no table":
        return {**arguments, "--metadata": model / "saved_model.pb"}, ["--metadata", "no text in UTF-8"]
    if kind == "metadata of nobody":
        (tmp_path / "table.csv").write_text("isic_id,colour\nISIC_0000001,red\n")
        return {**arguments, "--metadata": tmp_path / "table.csv"}, ["--metadata", "age_approx", "isic_id, colour"]
    if kind == "labels of a dataset":
        return {**arguments, "--labels": tmp_path / "table.csv"}, ["--labels", "--predictions"]
    raise AssertionError(kind)


KINDS = [
    *("no dataset", "unfinished dataset", "no model", "directory that is no model", "saved model without our assets"),
    *("damaged model.json", "another model", "half a fingerprint", "other classes", "classes in another order"),
    *("empty split", "unknown split"),
    *("batch of none", "output is a file", "output in use", "no option at all", "dataset not named", "model not named"),
    *("fold of a dataset without folds", "fold and split", "metadata that is no table", "metadata of nobody"),
    "labels of a dataset",
]


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_use_is_one_line_and_writes_nothing(kind: str, dataset: Path, model: Path, tmp_path: Path) -> None:
    arguments, says = damaged(kind, dataset, model, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    result = command(*[part for pair in arguments.items() for part in pair])
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("trainer.evaluate: error: ")
    assert all(word in result.stderr for word in says), result.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_damage_found_late_is_one_line_and_writes_nothing(dataset: Path, model: Path, tmp_path: Path) -> None:
    """What only shows once TensorFlow reads it: a cut-off shard, a model file that is none, a missing signature."""
    cut = tmp_path / "cut"
    shutil.copytree(dataset, cut)
    shard = cut / "test-00000-of-00002.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(UsageError, match="test split cannot be read"):
        evaluate_command.run(options(cut, model, tmp_path / "out"))
    shard.write_bytes(b"")
    with pytest.raises(UsageError, match=r"holds 4 originals, dataset\.json says 8"):
        evaluate_command.run(options(cut, model, tmp_path / "out"))

    broken = write_model(tmp_path / "broken")
    (broken / "saved_model.pb").write_bytes(b"not a graph")
    with pytest.raises(UsageError, match=r"saved_model\.pb is not the file that was exported \(11 bytes instead of"):
        evaluate_command.run(options(dataset, broken, tmp_path / "out"))
    change_model(broken)
    with pytest.raises(UsageError, match="cannot be loaded"):
        evaluate_command.run(options(dataset, broken, tmp_path / "out"))
    tf.saved_model.save(Empty(), str(broken))
    change_model(broken)
    with pytest.raises(UsageError, match="no signature 'records'"):
        evaluate_command.run(options(dataset, broken, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_help_and_no_beam_nor_early_tensorflow(dataset: Path, model: Path, tmp_path: Path) -> None:
    result = command("--help")
    assert result.returncode == 0
    assert "--predictions" in result.stdout
    assert result.stderr == ""
    code = (
        "import sys; from trainer.evaluate import command as evaluate; assert 'tensorflow' not in sys.modules;"
        "evaluate.main(sys.argv[1:]);"
        "assert not {'apache_beam', 'tensorflow_transform'} & set(sys.modules)"
    )
    arguments = ["--dataset", dataset, "--model", model, "--output", tmp_path / "out", "--bootstrap", 10]
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True, capture_output=True)
