"""The command line as a user meets it: exit codes, one line on stderr, nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from tests.support.commands import Command, besides_progress
from trainer.task.command_line import parse_options


def test_help_is_quick_and_shows_defaults(process: Command) -> None:
    # Python then names each module that it imports on stderr; TensorFlow would take seconds.
    done = process("trainer.task", "--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0
    assert all(line.startswith("import time:") for line in done.stderr.splitlines())
    assert "trainer.config.options" in done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tensorflow" not in imported
    for text in (
        "--dataset DIR",
        "--strategy {auto,one_device,mirrored,multi_worker,tpu}",
        "(default: 40)",
        "OUTPUT/model",
    ):
        assert text in done.stdout


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["--epochs=0"], ["--epochs", "0 is out of range"]),
        (["--epochs=many"], ["--epochs", "'many' is not an integer"]),
        (["--learning_rate=nan"], ["--learning_rate", "nan is out of range"]),
        (["--dropout=1"], ["--dropout", "from 0 to below 1"]),
        (["--strategy=horovod"], ["--strategy", "'horovod'", "one_device"]),
        (["--strategy=tpu"], ["--strategy tpu", "--tpu NAME"]),
        (["--strategy=mirrored", "--tpu=local"], ["--tpu local goes with --strategy tpu"]),
        (
            ["--strategy=multi_worker"],
            ["--strategy multi_worker needs TF_CONFIG", "trainer.distribution.local_cluster"],
        ),
        (["--accumulate=3"], ["--accumulate 3 does not divide --batch_size 32"]),
        (["--cache="], ["--cache is empty"]),
        (["--cache=gs://bucket/x"], ["--cache gs://bucket/x", "only local directories"]),
        (["--class_weights=some"], ["--class_weights", "'some'", "balanced"]),
        (["--colour=red", "--epoch=3"], ["unknown options --colour, --epoch (nearest --epochs)"]),
        (["--fold=0"], ["--fold 0", "prepared without folds", "--folds 5"]),
        (["--progressive=64:0.5"], ["--progressive 64:0.5", "have 32 px"]),
        (["--progressive=16"], ["--progressive 16", "SIZE:SHARE"]),
        (["--mix=mixup", "--batch_size=25"], ["--mix mixup", "--batch_size 25 must be a multiple of 2"]),
        (["--config=missing.json"], ["--config missing.json", "cannot be read"]),
        (["--output="], ["--output is empty"]),
        (["--dataset=s3://bucket/data"], ["--dataset s3://bucket/data", "only local directories and gs://"]),
        (["--output=hdfs://bucket/out"], ["--output hdfs://bucket/out", "only local directories and gs://"]),
        (["--dataset=missing"], ["--dataset missing", "no such directory", "pipelines.prepare"]),
    ],
)
def test_wrong_use_exits_2_with_one_line_and_writes_nothing(
    command: Command, dataset: Path, tmp_path: Path, wrong: list[str], says: list[str]
) -> None:
    output = tmp_path / "out"
    done = command("trainer.task", f"--dataset={dataset}", f"--output={output}", *wrong)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("trainer.task: error: ")
    for text in says:
        assert text in done.stderr
    assert not output.exists()


def test_tf_config_is_checked_before_tensorflow_starts(command: Command, dataset: Path, tmp_path: Path) -> None:
    done = command(
        "trainer.task", f"--dataset={dataset}", f"--output={tmp_path / 'out'}", env={"TF_CONFIG": '{"cluster": {}'}
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("trainer.task: error: TF_CONFIG is not JSON (")
    assert not (tmp_path / "out").exists()


def test_a_tpu_that_is_not_there_exits_2_with_one_line(process: Command, dataset: Path, tmp_path: Path) -> None:
    done = process("trainer.task", f"--dataset={dataset}", f"--output={tmp_path / 'out'}", "--tpu=local")
    assert done.returncode == 2, done.stderr
    (error,) = besides_progress(done.stderr)
    assert error.startswith("trainer.task: error: --tpu local: cannot be used (")
    assert not (tmp_path / "out").exists()


def test_required_options_that_are_missing_are_named(command: Command) -> None:
    done = command("trainer.task")
    assert done.returncode == 2
    assert "--dataset, --output" in done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not YAML"),
        ("[1]", "holds no options"),
        ('{"epoch": 3}', "unknown option --epoch (nearest --epochs)"),
        ('{"epochs": 0}', "--epochs: 0 is out of range"),
        ('{"loss": "hinge"}', "--loss: invalid choice: 'hinge'"),
        ('{"dropout": false}', "argument --dropout: 'false' is not a number"),
        ('{"batch_norm": 0}', "'batch_norm' is '0'; give true or false"),
        ('{"progressive": {"64": 0.6}}', "'progressive' is neither a value nor a list of values"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_with_its_file_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        parse_options(["--dataset=d", "--output=o", f"--config={path}"])
    assert says in str(error.value)
    assert f"--config {path}" in str(error.value)


def test_the_command_line_comes_before_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({"epochs": 3, "width": 0.5, "mixed_precision": True, "batch_norm": False, "jit": False}))
    options = parse_options(["--width=2", f"--config={path}", "--dataset=d", "--output=o"])
    assert (options.epochs, options.width, options.mixed_precision, options.batch_norm) == (3, 2.0, True, False)
    assert not options.jit
    given = ["--no-mixed_precision", "--batch_norm", "--jit", f"--config={path}", "--dataset=d", "--output=o"]
    options = parse_options(given)
    assert (options.mixed_precision, options.batch_norm, options.jit) == (False, True, True)
