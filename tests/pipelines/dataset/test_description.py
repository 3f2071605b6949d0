"""What dataset.json says of a dataset."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.dataset import accounting
from pipelines.dataset import description as dataset_description
from pipelines.domain.dataset_json import Shard
from tests.support.image_rows import train_row
from tests.support.tallies import rows_of, tallies


def test_the_fingerprint_knows_the_fold() -> None:
    def content(fold: Any) -> Any:
        return dataset_description.tally_row(train_row("a", label="nevus", fold=fold, copies=1, outcome="written"))[
            "content",
        ]

    assert len({content(-1), content(0), content(1)}) == 3


def test_examples_missing_from_a_shard_fail() -> None:
    rows = rows_of("written", "written")
    listed, totals = tallies(rows, [row.path for row in rows])
    with pytest.raises(accounting.AccountingError, match="4 examples planned, but the shards hold 3"):
        dataset_description.describe_dataset(
            listed, totals, {}, [], [Shard("train-0", "train", 3, 9, "ab")], ["a", "b"], {}
        )
    description = dataset_description.describe_dataset(
        listed, totals, {}, [], [Shard("train-0", "train", 4, 9, "ab")], ["a", "b"], {"seed": 1}
    )
    assert description["splits"]["train"]["per_class"]["a"] == {"originals": 2, "examples": 4}
    other = dataset_description.describe_dataset(
        listed, totals, {}, [], [Shard("train-0", "train", 4, 9, "ab")], ["a", "b"], {"seed": 2}
    )
    assert description["fingerprint"] != other["fingerprint"]
