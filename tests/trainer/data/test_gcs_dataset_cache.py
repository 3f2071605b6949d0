"""The copy that is made of a dataset in a bucket: what is needed, once, and no other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.common.cli import UsageError
from tests.support.gcs import local_gcs, open_bucket, upload
from trainer.data.gcs_dataset_cache import GcsDataset

PLACE = "gs://datasets/tiny"


@pytest.fixture
def bucket(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with local_gcs(tmp_path, "datasets") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        upload(environment, "datasets", dataset, "tiny")
        yield open_bucket(environment, "datasets")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_what_is_needed_is_copied_and_only_once(bucket: Any, dataset: Path, tmp_path: Path) -> None:
    remote = GcsDataset(PLACE, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    assert remote.info.place == PLACE
    wanted = {name: data for name, data in files(dataset).items() if not name.startswith("test-")}
    assert remote.copy(("train", "validation")) == len(wanted)
    assert files(remote.info.path) == wanted
    assert all(path.is_file() for path in remote.info.paths(remote.info.split("train")))

    again = GcsDataset(PLACE, tmp_path / "cache")
    assert again.info.path == remote.info.path
    assert again.copy(("train", "validation")) == 0
    assert again.copy(["test"], graphs=False) == 2
    # A copy that was damaged is made again.
    shard = again.info.paths(again.info.split("test"))[0]
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    assert again.copy(["test"], graphs=False) == 1
    assert shard.read_bytes() == (dataset / shard.name).read_bytes()


def test_another_dataset_has_another_copy(bucket: Any, tmp_path: Path) -> None:
    first = GcsDataset(PLACE, tmp_path)
    blob = bucket.blob("tiny/dataset.json")
    blob.upload_from_string(json.dumps({**json.loads(blob.download_as_bytes()), "fingerprint": "f" * 64}))
    assert GcsDataset(PLACE, tmp_path).info.path != first.info.path


def test_copies_are_kept_where_caches_of_the_user_are(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert GcsDataset(PLACE).info.path.is_relative_to(tmp_path / "xdg")


def test_what_is_missing_is_named_before_anything_is_copied(bucket: Any, tmp_path: Path) -> None:
    bucket.blob("tiny/train-00001-of-00002.tfrecord").delete()
    remote = GcsDataset(PLACE, tmp_path / "cache")
    with pytest.raises(UsageError, match=f"--dataset {PLACE}: train-00001-of-00002.tfrecord is missing"):
        remote.copy(["train"])
    assert not (tmp_path / "cache").exists()


def test_a_copy_that_cannot_be_kept_is_one_line_with_a_remedy(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=f"--cache {tmp_path}/file: cannot keep a copy .* give another directory"):
        GcsDataset(PLACE, tmp_path / "file").copy(["test"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match=f"--dataset {PLACE}: cannot keep a copy .* XDG_CACHE_HOME"):
        GcsDataset(PLACE).copy(["test"])
