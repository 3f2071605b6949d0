"""Whether a dataset is what its dataset.json says."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.domain.dataset_json import Shard
from pipelines.verify.dataset_check import first_difference, worker_count


@pytest.mark.parametrize(
    ("found", "expected", "says"),
    [
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2]}}, ""),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, "a.b.1 is 2, manifest and shards give 3"),
        ({"a": [1]}, {"a": [1, 2]}, "a is [1], manifest and shards give [1, 2]"),
        ({"b": 1}, {"a": 1, "b": 2}, "a is missing"),
        ({"a": 1, "b": None}, {"b": None}, "a is there, though nothing gives it"),
        ({"z": 1, "m": {"k": "x"}}, {"z": 2, "m": {"k": "y"}}, 'm.k is "x", manifest and shards give "y"'),
        ({"a": None}, {"a": 0}, "a is null, manifest and shards give 0"),
    ],
)
def test_the_first_difference_is_named_by_its_keys_and_values(
    found: dict[str, Any], expected: dict[str, Any], says: str
) -> None:
    assert first_difference(found, expected) == says


@pytest.mark.parametrize(("asked", "shards", "count"), [(3, 9, 3), (3, 2, 2), (3, 0, 1), (0, 9, 1)])
def test_there_are_as_many_processes_as_are_asked_for_and_have_work(asked: int, shards: int, count: int) -> None:
    assert worker_count(asked, [Shard(f"{n}", "train", 1, 1000, "") for n in range(shards)]) == count
