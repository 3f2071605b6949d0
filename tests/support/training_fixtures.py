"""One tiny dataset and one run trained on it, shared by the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tiny_dataset import training, write_dataset


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    """The directory of the tiny dataset."""
    return write_dataset(tmp_path_factory.mktemp("trainer"))


@pytest.fixture(scope="session")
def trained(command, dataset, tmp_path_factory) -> Path:
    """The output directory of a finished run, made by the command line."""
    output = tmp_path_factory.mktemp("trained") / "run"
    done = command(*training(dataset, output))
    assert done.returncode == 0, done.stderr
    (output.parent / "stdout.txt").write_text(done.stdout)
    return output
