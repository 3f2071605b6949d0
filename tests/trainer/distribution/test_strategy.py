"""Which strategy a run gets, and which batches cannot be split over its devices."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import tensorflow as tf

from pipelines.common.cli import UsageError
from trainer.config.options import TrainOptions
from trainer.data.input_pipeline import Batching
from trainer.distribution.cluster import ALONE, Cluster
from trainer.distribution.strategy import make_strategy, resolve

OPTIONS = TrainOptions(dataset="d", output="o")
PAIR = Cluster(("a:1", "b:1"))


@pytest.mark.parametrize(
    ("changed", "cluster", "name"),
    [
        ({}, ALONE, "one_device"),
        ({}, PAIR, "multi_worker"),
        ({"tpu": "local"}, ALONE, "tpu"),
        ({"strategy": "mirrored"}, ALONE, "mirrored"),
        ({"strategy": "multi_worker"}, PAIR, "multi_worker"),
    ],
)
def test_auto_means_what_the_machine_and_the_cluster_have(changed: dict[str, Any], cluster: Cluster, name: str) -> None:
    assert resolve(dataclasses.replace(OPTIONS, **changed), cluster) == name


def test_a_strategy_for_one_device_and_for_all_of_a_machine() -> None:
    assert isinstance(make_strategy(OPTIONS), tf.distribute.OneDeviceStrategy)
    mirrored = make_strategy(dataclasses.replace(OPTIONS, strategy="mirrored"))
    assert isinstance(mirrored, tf.distribute.MirroredStrategy)
    assert mirrored.num_replicas_in_sync == len(tf.config.list_logical_devices("CPU"))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"batch_size": 31, "mix": "mixup"}, "--batch_size 31 cannot be split over 1 devices: give a multiple of 2"),
        ({"batch_size": 30, "accumulate": 4}, "cannot be split over 1 devices in 4 parts: give a multiple of 4"),
        ({"strategy": "mirrored", "jit": True}, "--jit goes with --strategy one_device, not with mirrored"),
    ],
)
def test_what_does_not_go_with_a_strategy_is_named(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make_strategy(dataclasses.replace(OPTIONS, **changed))


def test_a_pipeline_feeds_the_replicas_of_its_own_worker() -> None:
    context = tf.distribute.InputContext(num_input_pipelines=2, input_pipeline_id=1, num_replicas_in_sync=4)
    assert Batching.of_pipeline(context, 32, 2) == Batching(size=32, parts=2, replicas=4, first=2, local=2)
