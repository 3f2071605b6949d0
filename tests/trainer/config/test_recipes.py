"""Recipes: which options they may hold, and that these survive every form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from tests.support.tiny_dataset import ROOT
from trainer.config.recipes import as_arguments, check_recipe, read_recipe
from trainer.task.command_line import parse_options


def test_options_survive_being_written_as_arguments() -> None:
    options = parse_options(["--dataset=d", "--output=o", "--no-batch_norm", "--mixed_precision", "--epochs=7"])
    assert parse_options(as_arguments(options.as_dict())) == options


def test_the_recipe_that_we_give_is_right() -> None:
    assert parse_options(["--dataset=d", "--output=o", f"--config={ROOT / 'trainer/config/bespoke.json'}"]).epochs > 1


@pytest.mark.parametrize("name", ["output", "dataset", "threads_of_mine", "cache", "overwrite"])
def test_what_belongs_to_one_machine_is_no_option_of_a_recipe(name: str) -> None:
    with pytest.raises(UsageError, match=f"^here: '{name}' is not an option of a recipe; these are: epochs, "):
        check_recipe({name: "x"}, "here")


def test_a_recipe_is_read_as_it_was_written(tmp_path: Path) -> None:
    values = {"epochs": 3, "learning_rate": 0.5, "loss": "focal", "jit": True, "checkpoint_steps": 7}
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(values))
    assert read_recipe(str(path)) == values
    assert as_arguments(values) == [
        "--epochs=3",
        "--learning_rate=0.5",
        "--loss=focal",
        "--jit",
        "--checkpoint_steps=7",
    ]
    assert as_arguments({"jit": False}) == ["--no-jit"]


def test_a_recipe_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^--recipe {tmp_path}: cannot be read .*; name a JSON file$"):
        read_recipe(str(tmp_path))


@pytest.mark.parametrize("name", ["bespoke", "quick"])
def test_each_recipe_that_we_give_has_options_that_the_trainer_takes(name: str) -> None:
    recipe = read_recipe(str(ROOT / f"trainer/config/{name}.json"))
    options = parse_options(["--dataset=d", "--output=o", *as_arguments(recipe)])
    assert {option: getattr(options, option) for option in recipe} == recipe
