"""A tiny prepared dataset that follows the artefact contract, written without Beam.

Each class is a disc of its own colour on skin; 32 px, so a small net tells them apart within seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines.imaging.standardize_graph import StandardizeModule
from tests.support.documents import dataset_document, shard_entry

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


ROOT = Path(__file__).resolve().parents[2]
SIZE = 32
ASPECT = "stretch"
CLASSES = ("dermatofibroma", "melanoma", "nevus", "vascular lesion")
COLOURS = np.array([[150, 90, 60], [40, 30, 40], [110, 60, 130], [190, 40, 50]], np.float32)
TRAIN_COUNTS = (12, 20, 30, 8)
HELD_OUT_COUNT = 5
# Small and quick, but with every part of the real thing: warm-up, dropout, augmentation, averages, several batches.
TRAIN_OPTIONS = (
    *("--epochs=6", "--batch_size=16", "--width=0.25", "--depth=1", "--learning_rate=0.01", "--dropout=0.3"),
    *("--loss=balanced_softmax", "--mix=mixup", "--mix_alpha=0.1", "--average=0.9", "--progressive=16:0.4"),
)


def draw(label: int, index: int, size: int = SIZE) -> np.ndarray:
    """uint8 [size, size, 3]: a lesion of class `label`; `index` varies place, radius and noise."""
    random = np.random.default_rng([label, index])
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    centre = random.uniform(-0.1, 0.1, 2) * size
    disc = np.hypot(y - centre[0], x - centre[1]) < random.uniform(0.2, 0.35) * size
    image = np.where(disc[..., None], COLOURS[label], [220, 180, 160]) + random.normal(0, 12, (size, size, 3))
    return image.clip(0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray) -> bytes:
    return tf.io.encode_jpeg(pixels, quality=95, chroma_downsampling=False).numpy()


TRANSFORM_INPUTS = [
    {
        "image/encoded": tf.TensorSpec([None], tf.string),
        "image/class/text": tf.TensorSpec([None], tf.string),
        "image/statistics": tf.TensorSpec([None, 7], tf.int64),
    }
]


class Transform(tf.Module):
    """Stands for tf.Transform's graph: the same inputs and outputs, a vocabulary file among its assets."""

    def __init__(self, vocabulary: Path, mean: np.ndarray, std: np.ndarray):
        super().__init__()
        self.vocabulary = tf.saved_model.Asset(str(vocabulary))
        self.table = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(
                self.vocabulary,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            1,
        )
        self.mean, self.scale = tf.constant(mean, tf.float32), tf.constant(1 / std, tf.float32)

    @tf.function(input_signature=TRANSFORM_INPUTS)
    def transform_fn(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        def decode(encoded: tf.Tensor) -> tf.Tensor:
            pixels = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
            return tf.ensure_shape(tf.cast(pixels, tf.float32), [SIZE, SIZE, 3])

        pixels = tf.map_fn(decode, inputs["image/encoded"], fn_output_signature=tf.float32)
        return {"image": (pixels - self.mean) * self.scale, "label": self.table.lookup(inputs["image/class/text"])}


def example(encoded: bytes, label: int, name: str, copy: int) -> bytes:
    def feature(value: int | bytes) -> tf.train.Feature:
        if isinstance(value, int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    values: dict[str, int | bytes] = {
        "image/encoded": encoded,
        "image/format": b"jpeg",
        "image/height": SIZE,
        "image/width": SIZE,
        "image/key/sha256": hashlib.sha256(name.encode()).hexdigest().encode(),
        "image/source_id": name.encode(),
        "image/class/label": label,
        "image/class/text": CLASSES[label].encode(),
        "image/lesion_id": b"",
        "image/group_id": name.encode(),
        "image/augmentation/copy": copy,
    }
    features = tf.train.Features(feature={key: feature(value) for key, value in values.items()})
    return tf.train.Example(features=features).SerializeToString()


def write_split(directory: Path, split: str, counts: tuple[int, ...], first: int, copies: int = 0) -> dict:
    """Write the TFRecords of a split; returns its part of dataset.json."""
    records = []
    for label, count in enumerate(counts):
        for index in range(first, first + count):
            encoded = jpeg(draw(label, index))
            records += [example(encoded, label, f"{split}-{label}-{index}", copy) for copy in range(copies + 1)]
    shards = [f"{split}-{shard:05d}-of-00002.tfrecord" for shard in range(2)]
    for shard, name in enumerate(shards):
        with tf.io.TFRecordWriter(str(directory / name)) as writer:
            for record in records[shard::2]:
                writer.write(record)
    return {
        "shards": [shard_entry(directory / name, len(records[shard::2])) for shard, name in enumerate(shards)],
        "originals": sum(counts),
        "examples": len(records),
        "bytes": sum((directory / name).stat().st_size for name in shards),
        "per_class": {
            name: {"originals": count, "examples": count * (copies + 1)}
            for name, count in zip(CLASSES, counts, strict=True)
        },
    }


def write_dataset(root: Path) -> Path:
    """Write it to root/dataset. 70 train originals with one copy each, 20 validation, 20 test."""
    directory = root / "dataset"
    directory.mkdir()
    held_out = (HELD_OUT_COUNT,) * len(CLASSES)
    splits = {
        "train": write_split(directory, "train", TRAIN_COUNTS, first=0, copies=1),
        "validation": write_split(directory, "validation", held_out, first=1000),
        "test": write_split(directory, "test", held_out, first=2000),
    }
    vocabulary = root / "classes.txt"
    vocabulary.write_text("\n".join(CLASSES) + "\n")
    pixels = np.stack([draw(label, i) for label, count in enumerate(TRAIN_COUNTS) for i in range(count)]).astype(float)
    transform = Transform(vocabulary, pixels.mean(axis=(0, 1, 2)), pixels.std(axis=(0, 1, 2)))
    tf.saved_model.save(transform, str(directory / "transform_fn"))
    tf.saved_model.save(StandardizeModule(SIZE, ASPECT), str(directory / "standardize_fn"))
    named = {"fingerprint": "0123456789abcdef" * 4, "aspect": ASPECT}
    document = dataset_document(CLASSES, ["melanoma"], SIZE, splits, **named)
    (directory / "dataset.json").write_text(json.dumps(document))
    return directory


def deal_into_folds(directory: Path, folds: int = 3, copies: bool = True) -> None:
    """Write the train split again in folds, as prepare does: an image's copies with it, a shard for each fold.

    copies: whether there still are augmented ones.
    """
    document = json.loads((directory / "dataset.json").read_text())
    train = document["splits"]["train"]
    paths = [str(directory / shard["name"]) for shard in train["shards"]]
    records = [record.numpy() for record in tf.data.TFRecordDataset(paths)]
    for path in paths:
        Path(path).unlink()
    parts: list[dict] = []
    for fold in range(folds):
        own, per_class = [], {name: {"originals": 0, "examples": 0} for name in CLASSES}
        for record in records:
            features = tf.train.Example.FromString(record).features.feature
            name = features["image/class/text"].bytes_list.value[0].decode()
            index = int(features["image/source_id"].bytes_list.value[0].decode().rpartition("-")[2])
            if index % folds == fold and (copies or features["image/augmentation/copy"].int64_list.value[0] == 0):
                own.append(record)
                per_class[name]["examples"] += 1
                per_class[name]["originals"] += features["image/augmentation/copy"].int64_list.value[0] == 0
        name = f"train-{fold:05d}-of-{folds:05d}.tfrecord"
        with tf.io.TFRecordWriter(str(directory / name)) as writer:
            for record in own:
                writer.write(record)
        originals = sum(count["originals"] for count in per_class.values())
        size = (directory / name).stat().st_size
        counts = {"originals": originals, "examples": len(own), "bytes": size, "per_class": per_class}
        parts.append({"fold": fold, "shards": [name], **counts})
    train["examples"] = sum(part["examples"] for part in parts)
    train["per_class"] = {
        name: {kind: sum(part["per_class"][name][kind] for part in parts) for kind in ("originals", "examples")}
        for name in CLASSES
    }
    train["shards"] = [shard_entry(directory / part["shards"][0], part["examples"]) for part in parts]
    train["bytes"] = sum(part["bytes"] for part in parts)
    train["folds"] = parts
    (directory / "dataset.json").write_text(json.dumps(document))


def training(dataset: Path | str, output: Path | str, *options: str) -> list[str]:
    """The module of a training run on the tiny dataset, and its arguments."""
    return ["trainer.task", f"--dataset={dataset}", f"--output={output}", *TRAIN_OPTIONS, *options]


def command(dataset: Path | str, output: Path | str, *options: str) -> list[str]:
    """The same as the command line of a process."""
    return [sys.executable, "-m", *training(dataset, output, *options)]
