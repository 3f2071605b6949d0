"""The mistake that this project exists to prevent, made on purpose: augment first, then split.

For one line of the ablation table: how good a network looks when copies of one photograph are on both sides. A command
of its own, `python -m trainer.experiment.leaky_dataset`, for `trainer.experiment`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines.common.argument_parser import ArgumentParser
from pipelines.common.cli import UsageError, run_command
from pipelines.domain.dataset_json import DATASET_JSON, Fold
from trainer.config.options import number
from trainer.data.dataset_info import COMPRESSION_TYPES, DatasetInfo, fold_split, read_dataset_info
from trainer.data.input_pipeline import parse_examples
from trainer.experiment.ablations import is_leaky, leaky_fingerprint

# As in the notebooks: `validation_split=0.2` over all files there are.
VALIDATION_SHARE = 0.2


def write_leaky_dataset(info: DatasetInfo, fold: int, output: Path, seed: int = 0) -> Path:
    """Write a leaky dataset made from one with folds and stored augmented copies.

    Its train and validation splits hold the examples of all folds but one, originals and copies, dealt at random
    regardless of what belongs together. Its test split is the fold left out, originals only: the truth.

    Args:
        info: The dataset with folds and stored copies.
        fold: The fold left out.
        output: The directory to write; it must not exist.
        seed: The seed of the random split.

    Returns:
        `output`.
    """
    train = info.splits["train"]
    pool = [record for index, part in enumerate(train.folds) if index != fold for record in _records(info, part)]
    order = np.random.default_rng([seed, fold]).permutation(len(pool))
    held_out = round(VALIDATION_SHARE * len(pool))
    test = [record for record in _records(info, train.folds[fold]) if _copy(record) == 0]
    temporary = output.with_name(f".{output.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for graph in (info.transform_fn, info.standardize_fn):
        shutil.copytree(graph, temporary / graph.name)
    mixed = _write(temporary, "train", [pool[index] for index in order[held_out:]], info.classes)
    document = {
        **info.document,
        "fingerprint": leaky_fingerprint(info.fingerprint, fold, seed),
        "compression": "none",
        "splits": {
            "train": {**mixed, "folds": []},
            "validation": _write(temporary, "validation", [pool[index] for index in order[:held_out]], info.classes),
            "test": _write(temporary, "test", test, info.classes),
        },
    }
    (temporary / DATASET_JSON).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    temporary.rename(output)
    return output


def _records(info: DatasetInfo, fold: Fold) -> list[bytes]:
    compression = COMPRESSION_TYPES[info.compression]
    dataset = tf.data.TFRecordDataset([str(path) for path in info.paths(fold)], compression_type=compression)
    return [record.numpy() for record in dataset]


def _copy(record: bytes) -> int:
    return int(parse_examples(tf.constant([record]))["image/augmentation/copy"][0])


def _write(folder: Path, split: str, records: list[bytes], classes: tuple[str, ...]) -> dict:
    """Write one shard and return the split's entry in dataset.json."""
    path = folder / f"{split}-00000-of-00001.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    parsed = parse_examples(tf.constant(records))
    labels, copies = parsed["image/class/label"].numpy(), parsed["image/augmentation/copy"].numpy()
    examples = np.bincount(labels, minlength=len(classes))
    originals = np.bincount(labels[copies == 0], minlength=len(classes))
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    return {
        "shards": [{"name": path.name, "examples": len(records), "bytes": len(content), "sha256": sha256}],
        "originals": int(originals.sum()),
        "examples": len(records),
        "bytes": len(content),
        "per_class": {
            cls: {"originals": int(originals[label]), "examples": int(examples[label])}
            for label, cls in enumerate(classes)
        },
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Write the leaky dataset of a fold, unless it exists already.

    Raises:
        UsageError: `--output` holds anything but a leaky dataset, or another option is wrong.
    """
    parser = ArgumentParser(prog="python -m trainer.experiment.leaky_dataset", description=__doc__)
    parser.add_argument("--dataset", required=True, metavar="DIR", help="prepared with --folds and stored copies")
    parser.add_argument("--fold", type=number(int, 0), required=True, metavar="K", help="the fold that is the truth")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the leaky dataset")
    options = parser.parse_args(argv)
    info = read_dataset_info(options.dataset)
    fold_split(info, options.fold)
    if options.output.exists():
        try:
            there = read_dataset_info(options.output).fingerprint
        except UsageError:
            there = ""
        if there == leaky_fingerprint(info.fingerprint, options.fold):
            return
        if not is_leaky(there):
            raise UsageError(f"--output {options.output}: holds no leaky dataset; give a new directory")
        # Made from an earlier preparation of the dataset. Renamed before deletion, so that it is never there in part.
        stale = options.output.with_name(f".{options.output.name}.old")
        shutil.rmtree(stale, ignore_errors=True)
        shutil.rmtree(options.output.rename(stale))
    write_leaky_dataset(info, options.fold, options.output)


if __name__ == "__main__":
    run_command("trainer.experiment.leaky_dataset", main)
