"""Evaluations with places in a bucket: what is copied, what is uploaded, and what messages name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.common.cli import UsageError
from tests.support.gcs import local_gcs, open_bucket
from trainer.evaluate.gcs import local_workspace
from trainer.evaluate.options import OURS, EvaluateOptions

PLACE = "gs://runs/evaluation"


@pytest.fixture
def bucket(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with local_gcs(tmp_path, "runs") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        opened = open_bucket(environment, "runs")
        opened.blob("nights/predictions.parquet").upload_from_filename(str(stored))
        yield opened


def names(bucket: Any) -> set[str]:
    return {blob.name.removeprefix("evaluation/") for blob in bucket.client.list_blobs(bucket, prefix="evaluation/")}


def test_inputs_are_copied_and_results_uploaded_and_nothing_is_left_here(bucket: Any) -> None:
    options = EvaluateOptions(predictions="gs://runs/nights/predictions.parquet", output=PLACE)
    with local_workspace(options) as workspace:
        local = workspace.options
        assert local.predictions is not None
        assert os.path.isfile(local.predictions)
        assert workspace.inputs.stored is not None
        assert workspace.inputs.stored.classes == ("basal cell carcinoma", "melanoma", "nevus")
        os.makedirs(local.output)
        for name in OURS:
            with open(os.path.join(local.output, name), "w") as file:
                file.write(name)
        assert names(bucket) == set()
        workspace.upload()
    assert names(bucket) == set(OURS)
    assert bucket.blob("evaluation/report.md").download_as_bytes() == b"report.md"
    assert not os.path.exists(local.predictions)
    assert not os.path.exists(local.output)
    with pytest.raises(UsageError, match=f"--output {PLACE} is not empty"), local_workspace(options):
        pass


def test_messages_name_places_as_the_user_did(bucket: Any) -> None:
    bucket.blob("nights/broken.parquet").upload_from_string(b"no table")
    options = EvaluateOptions(predictions="gs://runs/nights/broken.parquet", output=PLACE)
    with pytest.raises(UsageError, match=r"^--predictions gs://runs/nights/broken.parquet: "), local_workspace(options):
        pass
    missing = EvaluateOptions(predictions="gs://runs/nights/none.parquet", output=PLACE)
    with pytest.raises(UsageError, match=r"none\.parquet: there is no such object"), local_workspace(missing):
        pass


def test_local_places_are_used_as_they_are(stored: Path, tmp_path: Path) -> None:
    options = EvaluateOptions(predictions=str(stored), output=str(tmp_path / "out"))
    with local_workspace(options) as workspace:
        assert workspace.options == options
        workspace.upload()
    assert not (tmp_path / "out").exists()
