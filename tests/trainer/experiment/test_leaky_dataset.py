"""The leak is what it says: copies of one photograph on both sides, and the fold left out seen by neither."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from tests.support.commands import Command
from tests.support.tiny_dataset import deal_into_folds
from trainer.data.dataset_info import DatasetInfo, fold_split, read_dataset_info
from trainer.data.input_pipeline import parse_examples
from trainer.experiment import leaky_dataset
from trainer.experiment.ablations import leaky_fingerprint
from trainer.experiment.leaky_dataset import write_leaky_dataset


def ids(info: DatasetInfo, split: str) -> list[str]:
    paths = [str(path) for path in info.paths(info.split(split))]
    records = [record.numpy() for record in tf.data.TFRecordDataset(paths)]
    return [name.decode() for name in parse_examples(tf.constant(records))["image/source_id"].numpy()]


@pytest.fixture(scope="module")
def folded(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> DatasetInfo:
    copy = shutil.copytree(dataset, tmp_path_factory.mktemp("leak") / "dataset")
    deal_into_folds(copy)
    return read_dataset_info(copy)


def test_copies_are_on_both_sides_and_the_fold_on_neither(folded: DatasetInfo, tmp_path: Path) -> None:
    leaky = read_dataset_info(write_leaky_dataset(folded, 1, tmp_path / "leaky"))
    train, validation, test = (ids(leaky, split) for split in ("train", "validation", "test"))
    of_fold = fold_split(folded, 1)
    assert sorted(train + validation) == sorted(ids(of_fold, "train"))
    assert len(validation) == round(0.2 * len(train + validation))
    assert len(set(train) & set(validation)) > len(validation) / 2
    assert len(test) == len(set(test)) == of_fold.split("validation").originals
    assert not set(test) & set(train + validation)
    for split, names in (("train", train), ("validation", validation), ("test", test)):
        assert (
            leaky.split(split).examples == len(names) == sum(c.examples for c in leaky.split(split).per_class.values())
        )


def test_the_command_makes_it_once_and_anew_of_another_dataset_and_deletes_nothing_else(
    folded: DatasetInfo, tmp_path: Path, command: Command
) -> None:
    output = tmp_path / "leaky"
    arguments = [f"--dataset={folded.path}", "--fold=1", f"--output={output}"]
    leaky_dataset.main(arguments)
    made = (output / "dataset.json").stat()
    leaky_dataset.main(arguments)
    assert (output / "dataset.json").stat().st_ino == made.st_ino
    leaky_dataset.main([*arguments[:1], "--fold=0", *arguments[2:]])
    assert read_dataset_info(output).fingerprint == leaky_fingerprint(folded.fingerprint, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["leaky"]
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    for wrong, says in (
        (["--fold=9"], "--fold 9: .* has 3 folds; give 0 to 2"),
        ([f"--output={thesis}"], "--output .*thesis: holds no leaky dataset; give a new directory"),
        ([f"--output={folded.path}"], "--output .*: holds no leaky dataset; give a new directory"),
    ):
        refused = command("trainer.experiment.leaky_dataset", *arguments, *wrong)
        assert refused.returncode == 2
        assert re.search(says, refused.stderr)
    assert thesis.is_dir()
    assert (folded.path / "dataset.json").is_file()


def test_the_same_seed_leaks_alike(folded: DatasetInfo, tmp_path: Path) -> None:
    first, again, other = (
        read_dataset_info(write_leaky_dataset(folded, 0, tmp_path / name, seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert ids(first, "train") == ids(again, "train") != ids(other, "train")
    assert first.fingerprint == again.fingerprint != other.fingerprint
