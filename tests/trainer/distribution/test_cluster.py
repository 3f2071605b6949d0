"""TF_CONFIG: who takes part in a run, and what is wrong with one that cannot be. Needs no TensorFlow."""

from __future__ import annotations

import json

import pytest

from pipelines.common.cli import UsageError
from trainer.distribution.cluster import Cluster, read_cluster, split_address


def config(task: tuple[str, object] = ("worker", 0), **cluster: object) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": task[0], "index": task[1]}, "environment": "cloud"})


def read(text: str) -> Cluster | None:
    return read_cluster({"TF_CONFIG": text})


def test_workers_are_ranked_chief_first() -> None:
    assert read_cluster({}) is None
    assert read("") is None
    assert read("{}") is None
    workers = ["b:1", "c:2"]
    assert read(config(("worker", 1), worker=workers)) == Cluster(("b:1", "c:2"), 1)
    assert read(config(("worker", 1), chief=["a:9"], worker=workers)) == Cluster(("a:9", "b:1", "c:2"), 2)
    chief = read(config(("chief", 0), worker=workers, chief=["a:9"]))
    assert chief is not None
    assert (chief.rank, chief.size, chief.is_chief) == (0, 3, True)
    worker = read(config(("worker", "1"), worker=workers))
    assert worker is not None
    assert worker.name(1) == "worker 1 (c:2)"
    alone = read(config(worker=["a:1"]))
    assert alone is not None
    assert alone.size == 1
    assert split_address("[::1]:80") == ("::1", 80)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[1]", 'has no "cluster"'),
        ('{"task": {"type": "worker", "index": 0}}', 'has no "cluster"'),
        ('{"cluster": {"worker": ["a:1"]}}', 'has no "task"'),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker"}}', 'has no "task"'),
        (config(worker=[]), '"worker" is not a list of addresses'),
        (config(worker="a:1"), '"worker" is not a list of addresses'),
        (config(worker=["a"]), "address 'a' is not host:port"),
        (config(worker=["a:0"]), "address 'a:0' is not host:port"),
        (config(worker=["a:70000"]), "address 'a:70000' is not host:port"),
        (config(worker=["a:1", "a:1"]), "names a:1 twice"),
        (config(chief=["a:1", "b:1"], worker=["c:1"]), "has 2 chiefs"),
        (config(("worker", 2), worker=["a:1", "b:1"]), "task index 2 is not from 0 to 1"),
        (config(("worker", -1), worker=["a:1"]), "task index -1"),
        (config(("worker", None), worker=["a:1"]), "task index None"),
        (config(("chief", 0), worker=["a:1"]), "says this is a 'chief', of which its cluster has none"),
        (config(("worker", 0), worker=["a:1"], ps=["b:1"]), "names tasks of type 'ps'; this program knows chief and"),
    ],
)
def test_a_wrong_tf_config_is_explained(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(text)
    assert str(caught.value).startswith("TF_CONFIG ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
