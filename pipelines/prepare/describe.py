"""The last files of a dataset: the run report, the schema of its records, TFDS metadata, and dataset.json."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam

from pipelines.common.text import printable
from pipelines.dataset import description as dataset_description
from pipelines.dataset import tfds_metadata
from pipelines.dataset.accounting import images_listed
from pipelines.dataset.record_schema import RECORD_SCHEMA, record_schema_bytes
from pipelines.prepare.shard_writer import WrittenShard
from pipelines.storage import filesystem

RUN_REPORT = "prepare.json"
# In it: the number of examples whose encoded images an update took from the earlier dataset. It is no counter of Beam:
# some runners have none, and others add what they do again, or what earlier jobs did.
EXAMPLES_REUSED = "examples_reused"
# Of the command, on a runner's page.
_SHOWN_CHARACTERS = 500


class DescribeDataset(beam.DoFn):
    """DoFn that checks the totals, writes the run report, record schema and TFDS metadata, and yields dataset.json.

    dataset.json must come last: its input is what WaitForFiles gives once the other files are written.

    Args:
        classes: Class names in label order.
        settings: What determines the records besides the images; copied into dataset.json.
        folder: The folder to write to.
        report: What the run report says beside how long it took.
    """

    def __init__(self, classes: Sequence[str], settings: Mapping[str, Any], folder: str, report: Mapping[str, Any]):
        self._classes = list(classes)
        self._settings = dict(settings)
        self._folder = folder
        self._report = dict(report)
        self._started = time.time()

    def display_data(self) -> dict[str, Any]:
        """Return what the runner's page shows of the step: how to make this dataset again, as far as it fits there."""
        return {"command": printable(self._report["command"])[:_SHOWN_CHARACTERS]}

    def process(
        self,
        written: Mapping[str, list],
        listed: Mapping,
        totals: Mapping,
        near: Mapping[str, int],
        frequent_lesions: Sequence[Mapping[str, Any]],
    ) -> list[bytes]:
        """Return the content of dataset.json.

        Args:
            written: What each writer has written; `shards` holds the WrittenShards.
            listed: The result of CountListed.
            totals: The sum of `tally_row` over all rows.
            near: The numbers of near-duplicates, see `describe_dataset`.
            frequent_lesions: Values that name very many images as one lesion, see `describe_dataset`.

        Raises:
            AccountingError: If the totals do not agree.
        """
        shards: list[WrittenShard] = written["shards"]
        description = dataset_description.describe_dataset(
            listed, totals, near, frequent_lesions, [made.shard for made in shards], self._classes, self._settings
        )
        seconds = time.time() - self._started
        report = {
            "seconds": round(seconds, 2),
            "images_per_second": round(images_listed(listed) / seconds, 1),
            EXAMPLES_REUSED: sum(made.reused for made in shards),
            **self._report,
        }
        texts = {**tfds_metadata.metadata_files(description), RUN_REPORT: json.dumps(report, indent=2) + "\n"}
        files = {name: text.encode() for name, text in texts.items()}
        for name, content in {**files, RECORD_SCHEMA: record_schema_bytes(description)}.items():
            filesystem.write_bytes(filesystem.join(self._folder, name), content)
        return [(json.dumps(description, indent=2, ensure_ascii=False) + "\n").encode()]
