"""The mistake that this project exists to prevent, made on purpose: augment first, then split.

For one line of the ablation table: how good a network looks when copies of one photograph are on both sides.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer.dataset import parse_examples
from trainer.dataset_info import COMPRESSION_TYPES, DatasetInfo

# As in the notebooks: `validation_split=0.2` over whatever files there are.
VALIDATION_SHARE = 0.2


def write_leaky_dataset(info: DatasetInfo, fold: int, output: Path, seed: int = 0) -> Path:
    """Write a dataset to `output`, which must not exist, from one with folds and stored augmented copies.

    Its train and validation splits are the examples of all folds but one, originals and copies, dealt at random without
    a look at what belongs together. Its test split is the fold left out, originals only: the truth.
    """
    train = info.splits["train"]
    pool = [record for index, part in enumerate(train.folds) if index != fold for record in _records(info, part.shards)]
    order = np.random.default_rng([seed, fold]).permutation(len(pool))
    held_out = round(VALIDATION_SHARE * len(pool))
    truth = [record for record in _records(info, train.folds[fold].shards) if _copy(record) == 0]
    temporary = output.with_name(f".{output.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for graph in (info.transform_fn, info.standardize_fn):
        shutil.copytree(graph, temporary / graph.name)
    document = json.loads((info.path / "dataset.json").read_text(encoding="utf-8"))
    document["fingerprint"] = f"leaky-{seed}-{fold}-{info.fingerprint}"
    document["compression"] = "none"
    document["splits"] = {
        "train": _write(temporary, "train", [pool[index] for index in order[held_out:]], info.classes),
        "validation": _write(temporary, "validation", [pool[index] for index in order[:held_out]], info.classes),
        "test": _write(temporary, "test", truth, info.classes),
    }
    (temporary / "dataset.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    temporary.rename(output)
    return output


def _records(info: DatasetInfo, shards: tuple[Path, ...]) -> list[bytes]:
    compression = COMPRESSION_TYPES[info.compression]
    dataset = tf.data.TFRecordDataset([str(shard) for shard in shards], compression_type=compression)
    return [record.numpy() for record in dataset]


def _copy(record: bytes) -> int:
    return int(parse_examples(tf.constant([record]))["image/augmentation/copy"][0])


def _write(folder: Path, split: str, records: list[bytes], classes: tuple[str, ...]) -> dict:
    """One shard, and its entry in dataset.json."""
    name = f"{split}-00000-of-00001.tfrecord"
    with tf.io.TFRecordWriter(str(folder / name)) as writer:
        for record in records:
            writer.write(record)
    parsed = parse_examples(tf.constant(records))
    labels, copies = parsed["image/class/label"].numpy(), parsed["image/augmentation/copy"].numpy()
    examples = np.bincount(labels, minlength=len(classes))
    originals = np.bincount(labels[copies == 0], minlength=len(classes))
    return {
        "shards": [{"name": name}],
        "originals": int(originals.sum()),
        "examples": len(records),
        "per_class": {
            cls: {"originals": int(originals[label]), "examples": int(examples[label])}
            for label, cls in enumerate(classes)
        },
    }
