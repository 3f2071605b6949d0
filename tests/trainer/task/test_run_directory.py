"""The output directory: what may be continued, what may be deleted, and what stops the run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from trainer.config.options import TrainOptions
from trainer.data.dataset_info import DatasetInfo, read_dataset_info
from trainer.task.run_directory import check_output, open_output


@pytest.fixture
def info(dataset: Path) -> DatasetInfo:
    return read_dataset_info(dataset)


@pytest.fixture
def options(dataset: Path, tmp_path: Path) -> TrainOptions:
    return TrainOptions(dataset=str(dataset), output=str(tmp_path / "out"))


@pytest.fixture
def interrupted(options: TrainOptions, info: DatasetInfo, tmp_path: Path) -> Path:
    """A directory as a killed run leaves it, with a file of the user's."""
    open_output(check_output(options, info), options, info, threads=2)
    (tmp_path / "out" / "checkpoints").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    return tmp_path / "out"


def test_new_and_empty_directories_are_fine_and_checking_writes_nothing(
    options: TrainOptions, info: DatasetInfo, tmp_path: Path
) -> None:
    assert check_output(options, info).earlier is None
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    assert check_output(options, info).earlier is None
    (tmp_path / "out" / ".run.json.tmp").write_text("{")
    assert check_output(options, info).earlier is None


def test_an_interrupted_run_with_the_same_options_goes_on(
    options: TrainOptions, info: DatasetInfo, interrupted: Path
) -> None:
    plan = check_output(options, info)
    assert plan.earlier is not None
    assert plan.earlier["threads"] == 2
    open_output(plan, options, info, threads=4)
    assert json.loads((interrupted / "run.json").read_text())["threads"] == 2


def test_another_option_or_dataset_is_named(options: TrainOptions, info: DatasetInfo, interrupted: Path) -> None:
    with pytest.raises(UsageError, match=r"interrupted run with --epochs 40, now it is 3; .*--overwrite"):
        check_output(replace(options, epochs=3, seed=4), info)
    with pytest.raises(UsageError, match="interrupted run on another dataset"):
        check_output(options, replace(info, fingerprint="f" * 64))


def test_overwrite_deletes_only_what_is_ours(options: TrainOptions, info: DatasetInfo, interrupted: Path) -> None:
    (interrupted / "model").mkdir()
    with pytest.raises(UsageError, match="already holds a finished model; give --overwrite"):
        check_output(options, info)
    again = replace(options, overwrite=True)
    plan = check_output(again, info)
    assert (interrupted / "checkpoints").exists()
    open_output(plan, again, info, threads=2)
    assert sorted(path.name for path in interrupted.iterdir()) == ["notes.txt", "run.json"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["photo.jpg", "model/saved_model.pb", "run.json"])
def test_a_directory_of_someone_else_is_left_alone(
    options: TrainOptions, info: DatasetInfo, tmp_path: Path, overwrite: bool, name: str
) -> None:
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    file.write_text('{"program": "another"}')
    with pytest.raises(UsageError, match="holds no training run of ours"):
        check_output(replace(options, overwrite=overwrite), info)
    assert file.exists()


def test_a_file_in_the_place_of_the_directory_is_named(
    options: TrainOptions, info: DatasetInfo, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("")
    for output in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(UsageError, match="is a file; give a directory"):
            check_output(replace(options, output=str(output)), info)
