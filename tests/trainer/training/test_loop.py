"""The loop: the network that options describe, validation figures, and when an epoch saves and ends."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from trainer.config.options import TrainOptions
from trainer.data.dataset_info import read_dataset_info
from trainer.data.preprocessing import Preprocessing
from trainer.distribution.preemption import Preemption, RestartError
from trainer.training.checkpoint import RunState
from trainer.training.loop import Reporter, model_config, train_epoch, validation_figures

OPTIONS = TrainOptions(dataset="d", output="o", width=0.5, depth=1, dropout=0.1)


@pytest.fixture(scope="module")
def preprocessing(dataset: Path) -> Preprocessing:
    return Preprocessing(read_dataset_info(dataset))


def test_pixel_statistics_are_part_of_the_network_only_where_it_needs_them(preprocessing: Preprocessing) -> None:
    plain = model_config(OPTIONS, preprocessing)
    assert (plain.width, plain.depth, plain.dropout, plain.pixel_mean) == (0.5, 1, 0.1, ())
    tinted = model_config(dataclasses.replace(OPTIONS, colour_constancy=True), preprocessing)
    assert (tinted.pixel_mean, tinted.pixel_std) == preprocessing.pixel_statistics()
    backbone = model_config(dataclasses.replace(OPTIONS, backbone="MobileNetV3Small"), preprocessing)
    assert (backbone.backbone, backbone.pixel_mean) == ("MobileNetV3Small", tinted.pixel_mean)


def test_validation_figures_are_of_the_classes_made_equally_frequent() -> None:
    prior = np.array([0.9, 0.1])
    logits = np.log(np.array([[0.8, 0.2], [0.95, 0.05], [0.5, 0.5], [0.6, 0.4]]))
    labels = np.array([1, 0, 1, 0])
    loss, accuracy = validation_figures(logits, labels, prior)
    assert loss == pytest.approx(-np.log([0.2, 0.95, 0.5, 0.6]).mean())
    # 0.8 / 0.9 is less than 0.2 / 0.1; of the others only 0.95 / 0.9 is more.
    assert accuracy == pytest.approx((1 + 1 / 2) / 2)


def epoch(
    preemption: Preemption, checkpoint_steps: int = 0, first: int = 0, ask_at: int | None = None
) -> tuple[RunState, list[int], list[int], bool]:
    """Train an epoch of six steps with a step that counts; gives the state, where it saved and the result."""
    state = RunState(step=first)
    saved: list[int] = []
    done: list[int] = []

    def step(batch: tf.Tensor, flag: tf.Tensor) -> tf.Tensor:
        done.append(int(batch))
        if len(done) == ask_at:
            preemption.requested = True
        return tf.constant([2.0, 4.0, float(flag)])

    result = train_epoch(
        step,
        iter(range(first, 6)),
        6,
        checkpoint_steps,
        state,
        preemption,
        lambda: saved.append(state.step),
        Reporter(),
    )
    return state, saved, done, result


def test_an_epoch_goes_on_from_its_step_and_saves_in_between() -> None:
    state, saved, done, result = epoch(Preemption(), checkpoint_steps=2, first=1)
    assert (done, saved, result) == ([1, 2, 3, 4, 5], [2, 4], False)
    assert (state.step, state.loss_sum, state.weight_sum) == (6, 10.0, 20.0)


def test_a_request_to_end_saves_after_a_step_whose_figures_are_all_read() -> None:
    preemption = Preemption()
    with pytest.raises(RestartError, match=r"saved after step 4 of 6 in epoch 1; the same command continues"):
        epoch(preemption, ask_at=1)


def test_a_request_in_the_last_steps_lets_the_epoch_end() -> None:
    state, saved, done, result = epoch(Preemption(), ask_at=5)
    assert (done, saved, result, state.step) == ([0, 1, 2, 3, 4, 5], [], True, 6)
