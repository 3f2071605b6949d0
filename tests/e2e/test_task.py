"""Whole runs: one learns, one is killed and continued, one is spread over two devices."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pipelines.common.claimed_folder import claimed_folder
from pipelines.common.cli import EXIT_RESTART
from tests.support.claimed import claim_of
from tests.support.commands import Command, besides_progress
from tests.support.killing import go_on, stopped
from tests.support.tiny_dataset import ROOT, TRAIN_OPTIONS, training

EPOCHS = 6
PARTS = {"model", "optimizer", "averaged", "kept"}


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def final_state(run: Path) -> dict[str, np.ndarray]:
    """Every tensor of the newest checkpoint: weights, optimizer, dropout's generators, average, kept weights."""
    reader = tf.train.load_checkpoint(str(run / "checkpoints"))
    names = [name for name in reader.get_variable_to_shape_map() if name.split("/")[0] in PARTS]
    assert {name.split("/")[0] for name in names} == PARTS
    return {name: reader.get_tensor(name) for name in names}


def test_a_short_run_learns_and_reports(trained: Path) -> None:
    report, history = read_json(trained / "train.json"), read_json(trained / "history.json")
    assert report["validation"]["balanced_accuracy"] >= 0.9
    assert report["validation"]["n"] == 20
    assert report["replicas"] == 1
    assert not report["resumed"]
    assert [record["epoch"] for record in history] == list(range(1, EPOCHS + 1))
    best = history[report["best_epoch"] - 1]
    assert best["val_balanced_accuracy"] == report["validation"]["balanced_accuracy"]
    assert best["val_balanced_accuracy"] == max(record["val_balanced_accuracy"] for record in history)
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["learning_rate"] < 1e-4 < history[1]["learning_rate"]
    assert report["images_per_second"] > 0
    assert report["parameters"] > 1000
    assert list((trained / "logs").glob("events.out.tfevents.*"))
    exported = read_json(trained / "model/assets/model.json")
    for name in ("calibration", "operating_points"):
        assert report[name] == exported[name]
    assert report["calibration"]["n"] == 20
    # It was trained with balanced softmax: all classes count alike.
    assert report["calibration"]["prior"] == pytest.approx(exported["train_class_distribution"])
    lines = (trained.parent / "stdout.txt").read_text().splitlines()
    assert sum(line.startswith("epoch ") for line in lines) == EPOCHS
    assert lines[-1] == f"model: {trained / 'model'}"
    assert {path.name for path in trained.iterdir()} == {
        "run.json", "checkpoints", "logs", "history.json", "train.json", "curves.png", "reliability.png", "model",
    }  # fmt: skip


def signal_at(arguments: list[str], line_start: str, number: int) -> tuple[int, str]:
    """Run a command, send it a signal when it prints such a line; its exit code and stderr."""
    command, pipe = [sys.executable, "-m", *arguments], subprocess.PIPE
    with subprocess.Popen(command, text=True, cwd=ROOT, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith(line_start):
                process.send_signal(number)
        return process.wait(timeout=60), process.stderr.read()


@pytest.mark.proof
def test_a_run_told_to_end_and_killed_continues_to_the_same_bits(
    command: Command, trained: Path, dataset: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    # The unbroken run saved at the end of epochs only.
    arguments = training(dataset, run, "--checkpoint_steps=4")
    code, error = signal_at(arguments, "epoch 1/", signal.SIGTERM)
    assert code == EXIT_RESTART == 75
    (last,) = besides_progress(error)
    assert re.match(r"trainer.task: told to end \(SIGTERM\); saved after step \d of 9 in epoch 2; the same", last)
    code, _ = signal_at(arguments, "saved epoch 4/6 step 4/9", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (run / "model").exists()

    again = command(*arguments)
    assert again.returncode == 0, again.stderr
    assert "epoch 3/" not in again.stdout
    assert "saved epoch 4/6 step 4/" not in again.stdout
    assert f"epoch {EPOCHS}/" in again.stdout
    assert read_json(run / "train.json")["resumed"]

    unbroken, continued = final_state(trained), final_state(run)
    assert unbroken.keys() == continued.keys()
    for name, value in unbroken.items():
        assert np.array_equal(value, continued[name]), name
    fingerprints = [read_json(one / "model/assets/model.json")["weights_fingerprint"] for one in (trained, run)]
    assert fingerprints[0] == fingerprints[1]
    timing = {"images_per_second", "seconds"}
    for one, other in zip(read_json(trained / "history.json"), read_json(run / "history.json"), strict=True):
        assert {key: one[key] for key in one.keys() - timing} == {key: other[key] for key in other.keys() - timing}

    # A finished run is not touched again.
    refused = command(*training(dataset, run))
    assert refused.returncode == 2
    assert "already holds a finished model" in refused.stderr


def test_an_output_that_another_run_has_is_refused_in_one_line(
    command: Command, trained: Path, dataset: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with claimed_folder(str(run)):
        # Whatever its options are: what the first run has written says nothing of this yet.
        shutil.copy(trained / "run.json", run)
        for options in ((), ("--epochs=7",), ("--overwrite",)):
            refused = command(*training(dataset, run, *options))
            assert refused.returncode == 2
            assert refused.stderr.startswith(f"trainer.task: error: --output {run}: is being written by process ")
            assert refused.stderr.endswith(f"delete {claim_of(run)}\n")
            assert refused.stderr.count("\n") == 1
    assert [path.name for path in run.iterdir()] == ["run.json"]


@pytest.mark.proof
def test_a_second_run_into_the_output_changes_nothing_of_the_first(
    command: Command, trained: Path, dataset: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    module, *arguments = training(dataset, run)
    with stopped(module, "replace", "history.json", *arguments) as first:
        before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != "claim.json"}
        for options in ((), ("--overwrite",)):
            refused = command(module, *arguments, *options)
            assert refused.returncode == 2
            assert f"is being written by process {first.pid} on " in refused.stderr
        assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != "claim.json"} == before
        code, said = go_on(first)
    assert code == 0, said
    assert {path.name for path in run.iterdir()} == {path.name for path in trained.iterdir()}
    for name, value in final_state(trained).items():
        assert np.array_equal(value, final_state(run)[name]), name


TWO_DEVICES = """
import json, pathlib, sys
from dataclasses import asdict
import keras
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from trainer.data.dataset_info import read_dataset_info
from trainer.training.loop import Reporter, fit
from trainer.task.command_line import parse_options
from trainer.distribution.strategy import make_strategy
from trainer.data.preprocessing import Preprocessing
dataset, output, *options = sys.argv[1:]
info = read_dataset_info(dataset)
for name in ("mirrored", "one_device"):
    keras.utils.set_random_seed(0)
    chosen = parse_options([f"--dataset={dataset}", f"--output={output}", f"--strategy={name}", *options])
    strategy = make_strategy(chosen)
    checkpoints, _ = fit(chosen, info, Preprocessing(info), strategy, pathlib.Path(output, name), Reporter())
    history = [asdict(record) for record in checkpoints.state.history]
    print(json.dumps([strategy.num_replicas_in_sync, history]))
"""


@pytest.mark.proof
def test_two_replicas_train_like_one(dataset: Path, tmp_path: Path) -> None:
    # 140 examples in batches of 32: most of the last global batch is padding. In two parts each, so that gradient
    # accumulation is in it; two workers are compared with one without.
    options = [*TRAIN_OPTIONS, "--epochs=2", "--batch_size=32", "--learning_rate=0.002", "--accumulate=2"]
    arguments = [sys.executable, "-c", TWO_DEVICES, str(dataset), str(tmp_path), *options]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (replicas, two), (single, one) = map(json.loads, done.stdout.splitlines())
    assert (replicas, single) == (2, 1)
    for with_two, with_one in zip(two, one, strict=True):
        np.testing.assert_allclose(with_two["loss"], with_one["loss"], rtol=2e-3)
        # Validation follows the moving statistics.
        np.testing.assert_allclose(with_two["val_loss"], with_one["val_loss"], rtol=2e-2)
