"""One tiny dataset and one run trained on it, shared by the tests of this folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.commands import Command
from tests.support.tiny_dataset import deal_into_folds, training, write_dataset

FOLDS = 3


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the tiny dataset."""
    return write_dataset(tmp_path_factory.mktemp("trainer"))


@pytest.fixture(scope="session")
def trained(command: Command, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output directory of a finished run, made by the command line."""
    output = tmp_path_factory.mktemp("trained") / "run"
    done = command(*training(dataset, output))
    assert done.returncode == 0, done.stderr
    (output.parent / "stdout.txt").write_text(done.stdout)
    return output


@pytest.fixture(scope="session")
def folded(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the tiny dataset with its train split in FOLDS folds."""
    copy = shutil.copytree(dataset, tmp_path_factory.mktemp("folds") / "dataset")
    deal_into_folds(copy, FOLDS)
    return copy
