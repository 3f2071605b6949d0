"""The directory of an experiment belongs to one recipe and one dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.common.claimed_folder import claimed_folder
from pipelines.common.cli import UsageError
from trainer.experiment.command import claimed_experiment

SETTINGS = {"recipe": {"epochs": 3}, "dataset_fingerprint": "f"}


def begin(output: Path, settings: dict[str, Any]) -> None:
    with claimed_experiment(output, settings):
        pass


def test_the_same_experiment_goes_on_in_its_directory(tmp_path: Path) -> None:
    output = tmp_path / "new/experiment"
    begin(output, SETTINGS)
    written = (output / "settings.json").read_bytes()
    (output / "recipe").mkdir()
    begin(output, SETTINGS)
    assert (output / "settings.json").read_bytes() == written


def test_another_recipe_or_dataset_is_refused(tmp_path: Path) -> None:
    begin(tmp_path / "out", SETTINGS)
    for changed in ({**SETTINGS, "recipe": {}}, {**SETTINGS, "dataset_fingerprint": "g"}):
        with pytest.raises(UsageError, match="holds an experiment with another recipe or dataset; give a new"):
            begin(tmp_path / "out", changed)


def test_files_of_someone_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty and holds no experiment of ours"):
        begin(tmp_path, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_damaged_settings_and_a_file_in_the_way_are_named(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(UsageError, match=r"settings\.json is damaged; give a new directory"):
        begin(tmp_path, SETTINGS)
    with pytest.raises(UsageError, match="cannot be written"):
        begin(tmp_path / "settings.json" / "deeper", SETTINGS)


def test_one_command_at_a_time_works_on_an_experiment(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with claimed_folder(str(output)), pytest.raises(UsageError, match=f"--output {output}: is being written by"):
        begin(output, SETTINGS)
    assert not output.exists()
    begin(output, SETTINGS)
    assert [path.name for path in output.iterdir()] == ["settings.json"]
