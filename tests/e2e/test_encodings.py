"""Every encoding through prepare: the same pixels in the records, in the exported model and for other readers."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.commands import Command

SIZE = 48
ROOT = Path(__file__).resolve().parents[2]
TFDS_FILES = {"dataset_info.json", "features.json", "image-class-label.labels.txt"}
# What is asked for beside the sample. Folds leave the validation split empty.
ASKED = {
    "jpeg": ("--folds", 3),
    "png": ("--encoding", "png", "--compression", "gzip"),
    "raw": ("--encoding", "raw", "--shard_mb", 1),
}


@pytest.fixture(scope="module")
def prepare(command: Command, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Prepares the sample with these options; gives the dataset's folder. by: what runs the command."""

    def run(*more: object, by: Command = command) -> Path:
        output = tmp_path_factory.mktemp("prepared") / "dataset"
        done = by(
            *("pipelines.prepare", "--input", sample / "images", "--metadata", sample / "metadata.csv"),
            *("--output", output, "--image_size", SIZE, *more),
        )
        assert done.returncode == 0, done.stderr
        return output

    return run


@pytest.fixture(scope="module")
def datasets(prepare: Callable[..., Path]) -> dict[str, Path]:
    """Encoding -> a dataset with it."""
    return {encoding: prepare(*more) for encoding, more in ASKED.items()}


def describe(dataset: Path) -> dict[str, Any]:
    return json.loads((dataset / "dataset.json").read_text())


def records(dataset: Path, split: str = "train") -> Iterator[dict[str, Any]]:
    """Every record of a split as {key: value}, in order, read without TensorFlow's own reader of compressed files."""
    import tensorflow as tf

    for shard in describe(dataset)["splits"][split]["shards"]:
        data = (dataset / shard["name"]).read_bytes()
        data = gzip.decompress(data) if shard["name"].endswith(".gz") else data
        while data:
            length = int.from_bytes(data[:8], "little")
            features = tf.train.Example.FromString(data[12 : 12 + length]).features.feature
            data = data[16 + length :]
            yield {
                key: (value.bytes_list.value[0] if value.HasField("bytes_list") else value.int64_list.value[0])
                for key, value in features.items()
            }


def pixels_of(record: dict[str, Any]) -> np.ndarray:
    """What a record shows; independent of the code under test."""
    from pipelines.imaging import images

    if record["image/format"] == b"raw":
        return np.frombuffer(record["image/encoded"], np.uint8).reshape(SIZE, SIZE, 3)
    return images.decode(record["image/encoded"])


def files_of(dataset: Path) -> dict[str, bytes]:
    """Content hash -> bytes of every image written."""
    rows = [row for path in dataset.glob("manifest-*.parquet") for row in pq.read_table(path).to_pylist()]
    return {row["sha256"]: Path(row["path"]).read_bytes() for row in rows if row["outcome"] == "written"}


@pytest.mark.parametrize("encoding", ASKED)
def test_records_hold_the_standardised_pixels(datasets: dict[str, Path], encoding: str) -> None:
    from pipelines.imaging import images
    from pipelines.imaging.augment import augment

    dataset = datasets[encoding]
    files = files_of(dataset)
    seen: Counter[bool] = Counter()
    for split in ("train", "validation", "test"):
        for record in records(dataset, split):
            sha256, copy = record["image/key/sha256"].decode(), record["image/augmentation/copy"]
            expected = images.standardize(files[sha256], SIZE, "crop")
            if copy:
                # Copies are made of the original as its record holds it.
                stored = images.decode(images.encode_jpeg(expected)) if encoding == "jpeg" else expected
                expected = augment(stored, 0, sha256, copy)
            if encoding == "jpeg":
                assert record["image/encoded"] == images.encode_jpeg(expected)
            else:
                assert np.array_equal(pixels_of(record), expected)
            assert record["image/format"].decode() == encoding
            seen[copy > 0] += 1
    assert seen[False] == len(files) > 100
    assert seen[True] > 100


def test_dataset_json_says_how_it_is_stored(datasets: dict[str, Path]) -> None:
    from pipelines.prepare.settings import OWN_FILES

    described = {encoding: describe(dataset) for encoding, dataset in datasets.items()}
    assert {encoding: (d["encoding"], d["compression"]) for encoding, d in described.items()} == {
        "jpeg": ({"format": "jpeg", "quality": 95}, "none"),
        "png": ({"format": "png"}, "gzip"),
        "raw": ({"format": "raw"}, "none"),
    }
    assert {encoding: d["options"]["shard_mb"] for encoding, d in described.items()} == {
        "jpeg": 16,
        "png": 16,
        "raw": 1,
    }
    names = {encoding: [s["name"] for s in d["splits"]["train"]["shards"]] for encoding, d in described.items()}
    assert names["png"] == ["train-00000-of-00001.tfrecord.gz"]
    assert names["raw"] == ["train-00000-of-00002.tfrecord", "train-00001-of-00002.tfrecord"]
    assert len({d["fingerprint"] for d in described.values()}) == 3
    for encoding, dataset in datasets.items():
        found = {str(path.relative_to(dataset)) for path in dataset.rglob("*") if path.is_file()}
        # All of it is replaced by --overwrite.
        assert [name for name in found if not OWN_FILES.match(name)] == []
        assert found & TFDS_FILES == (set() if encoding == "png" else TFDS_FILES)


@pytest.mark.proof
def test_compressed_shards_have_the_same_bytes_with_other_processes(
    prepare: Callable[..., Path], process: Command, datasets: dict[str, Path]
) -> None:
    workers = ("--direct_running_mode", "multi_processing", "--direct_num_workers", 2)
    again = prepare(*ASKED["png"], *workers, by=process)
    shards = [path.name for path in datasets["png"].glob("*.tfrecord.gz")]
    assert len(shards) == 3
    for name in shards:
        assert (again / name).read_bytes() == (datasets["png"] / name).read_bytes()
    assert describe(again) == describe(datasets["png"])


@pytest.mark.parametrize("encoding", ASKED)
def test_the_trainer_reads_it_and_its_model_gives_files_and_records_the_same_answer(
    datasets: dict[str, Path], encoding: str, tmp_path: Path
) -> None:
    """An untrained model will do: what differs is how pixels come to it."""
    import tensorflow as tf

    from pipelines.domain.decision_rule import EIGHT_VIEWS, ONE_VIEW
    from pipelines.imaging.images import read_info
    from pipelines.score.model_handler import LoadedModels, Prediction
    from pipelines.score.model_input import form_of, standardize
    from pipelines.score.models import read_model_info
    from trainer.data.dataset_info import read_dataset_info
    from trainer.data.input_pipeline import Batching, evaluation_batches, train_stream
    from trainer.data.preprocessing import Preprocessing
    from trainer.data.record_reader import RecordReader
    from trainer.export.saved_model import export_model
    from trainer.export.train_images import train_images_of
    from trainer.network.model import ModelConfig, build_model

    info = read_dataset_info(datasets[encoding])
    preprocessing = Preprocessing(info)
    records = RecordReader(info, info.split("train"), "none")
    stream = train_stream(records, preprocessing, Batching(64), seed=0, first_step=0, augmented=False)
    epoch = stream.take(-(-records.count // 64)).as_numpy_iterator()
    assert sum(batch["weight"].sum() for batch in epoch) == info.split("train").examples

    tf.keras.utils.set_random_seed(0)
    config = ModelConfig(width=0.25, depth=1, dropout=0.0)
    model = build_model(config, SIZE, len(info.classes))
    calibration = {"temperature": 1.0, "prior": {name: 1 / len(info.classes) for name in info.classes}}
    points: dict[str, list] = {ONE_VIEW: [], EIGHT_VIEWS: []}
    weights, seen = model.get_weights(), train_images_of(info)
    export_model(tmp_path / "model", info, preprocessing, config, weights, {}, calibration, points, seen)
    signatures = tf.saved_model.load(str(tmp_path / "model")).signatures
    description = read_model_info("--model", str(tmp_path / "model"))
    job = LoadedModels([description], False)
    files, compared = files_of(datasets[encoding]), 0
    for batch in evaluation_batches(info, "test", 8):
        raw = [files[sha256.decode()] for sha256 in batch["image/key/sha256"].numpy()]
        by_record = signatures["records"](image_encoded=batch["image/encoded"])["probabilities"].numpy()
        by_file = signatures["serving_default"](image_bytes=tf.constant(raw))["probabilities"].numpy()
        assert np.array_equal(by_file, by_record)
        # By itself, standardised and then classified.
        pixels = tf.stack([signatures["standardize"](image_bytes=tf.constant(data))["image"] for data in raw])
        assert np.array_equal(signatures["classify"](image=pixels)["probabilities"], by_record)
        # As the score job does it: standardised by Pillow.
        scored = job.predict([standardize(data, read_info(data), [form_of(description)]) for data in raw])
        found = [prediction.by_model[0] for prediction in scored if isinstance(prediction, Prediction)]
        assert np.array_equal(found, by_record)
        assert by_record.std(axis=0).max() > 0
        compared += len(raw)
    assert compared == info.split("test").originals > 10


@pytest.mark.parametrize("encoding", ASKED)
def test_pixels_can_be_taken_back_to_levels(datasets: dict[str, Path], encoding: str) -> None:
    """What a backbone and colour constancy do inside the network."""
    from trainer.data.dataset_info import read_dataset_info
    from trainer.data.input_pipeline import evaluation_batches
    from trainer.data.preprocessing import Preprocessing

    info = read_dataset_info(datasets[encoding])
    preprocessing = Preprocessing(info)
    mean, std = preprocessing.pixel_statistics()
    batch = next(iter(evaluation_batches(info, "test", 8)))
    levels = preprocessing.normalise(batch["image/encoded"]).numpy() * std + mean
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-2)
    assert np.rint(levels).min() >= 0
    assert 128 < np.rint(levels).max() <= 255


def readme_block(word: str, dataset: Path) -> dict:
    """Runs the Python example of the README that has this word in it, on a dataset; gives its names."""
    text = (ROOT / "README.md").read_text()
    (block,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if word in block]
    decoder = {
        "png": r"`(tf\.io\.decode_png\(.*?\))` with",
        "raw": r"`(tf\.reshape\(.*?\))`\.\n",
    }
    encoding = describe(dataset)["encoding"]["format"]
    if encoding in decoder:
        (other,) = re.findall(decoder[encoding], text)
        block = re.sub(r"tf\.io\.decode_jpeg\(.*\)", lambda _: other, block)
    names: dict = {}
    exec(block.replace("out/dataset", str(dataset)), names)
    return names


@pytest.mark.parametrize("encoding", ASKED)
def test_the_reader_of_the_readme_gives_the_pixels_and_labels_of_the_records(
    datasets: dict[str, Path], encoding: str
) -> None:
    found = list(readme_block("def parse", datasets[encoding])["train"].as_numpy_iterator())
    expected = list(records(datasets[encoding]))
    assert len(found) == len(expected)
    for (image, label), record in zip(found, expected, strict=True):
        assert np.array_equal(image, pixels_of(record))
        assert label == record["image/class/label"]


@pytest.fixture(scope="module")
def for_tfds(datasets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Encoding -> a dataset that TFDS can read: the compressed one is unpacked and described as prepare would."""
    from pipelines.dataset.tfds_metadata import metadata_files

    packed = datasets["png"]
    folder = shutil.copytree(packed, tmp_path_factory.mktemp("unpacked") / "dataset")
    for shard in folder.glob("*.tfrecord.gz"):
        shard.with_suffix("").write_bytes(gzip.decompress(shard.read_bytes()))
        shard.unlink()
    for name, text in metadata_files({**describe(packed), "compression": "none"}).items():
        (folder / name).write_text(text)
    return {**datasets, "png": folder}


@pytest.mark.parametrize("encoding", ASKED)
def test_tensorflow_datasets_reads_every_feature(
    for_tfds: dict[str, Path], datasets: dict[str, Path], encoding: str
) -> None:
    import tensorflow_datasets as tfds

    description = describe(datasets[encoding])
    builder = tfds.builder_from_directory(str(for_tfds[encoding]))
    filled = {name: split["examples"] for name, split in description["splits"].items() if split["examples"]}
    assert ("validation" in filled) == (encoding != "jpeg")
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == filled
    # Empty splits are not there, which TFDS says in so many words.
    for name in set(description["splits"]) - set(filled):
        with pytest.raises(ValueError, match=f"Unknown split '{name}'"):
            builder.as_dataset(split=name)
    assert builder.info.features["image"]["class"]["label"].names == description["classes"]
    assert builder.info.features["image"]["encoded"].shape == (SIZE, SIZE, 3)

    decoders = None if encoding == "raw" else {"image": {"encoded": tfds.decode.SkipDecoding()}}
    for split in filled:
        expected = {
            (one["image/key/sha256"], one["image/augmentation/copy"]): one for one in records(datasets[encoding], split)
        }
        for example in builder.as_dataset(split=split, decoders=decoders).as_numpy_iterator():
            image = example["image"]
            record = expected.pop((image["key"]["sha256"], image["augmentation"]["copy"]))
            stored = image["encoded"].tobytes() if encoding == "raw" else image["encoded"]
            assert stored == record["image/encoded"]
            flat = {
                **{f"image/{key}": value for key, value in image.items() if not isinstance(value, dict)},
                **{
                    f"image/{key}/{name}": v
                    for key in ("key", "class", "augmentation")
                    for name, v in image[key].items()
                },
            }
            assert set(flat) == set(record)
            assert all(flat[key] == record[key] for key in record if key != "image/encoded")
        assert not expected


@pytest.mark.parametrize("encoding", ASKED)
def test_the_readme_on_tensorflow_datasets(for_tfds: dict[str, Path], datasets: dict[str, Path], encoding: str) -> None:
    found = list(readme_block("builder_from_directory", for_tfds[encoding])["pairs"].as_numpy_iterator())
    expected = list(records(datasets[encoding]))
    assert Counter(label for _, label in found) == Counter(record["image/class/label"] for record in expected)
    if encoding != "jpeg":
        # Of JPEG its decoder makes other pixels.
        assert Counter(image.tobytes() for image, _ in found) == Counter(pixels_of(one).tobytes() for one in expected)
