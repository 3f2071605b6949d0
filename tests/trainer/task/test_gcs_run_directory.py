"""What a run leaves in a bucket, step by step: it can always be taken up, and nothing half is taken for whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.common.cli import UsageError
from tests.support.gcs import local_gcs, open_bucket
from tests.support.gcs_proxy import door
from trainer.config.options import TrainOptions
from trainer.data.dataset_info import DatasetInfo, read_dataset_info
from trainer.distribution.preemption import RestartError
from trainer.task.gcs_run_directory import GcsRunDirectory
from trainer.task.run_directory import RunPlan, open_output

PLACE = "gs://runs/one"


@pytest.fixture
def info(dataset: Path) -> DatasetInfo:
    return read_dataset_info(dataset)


@pytest.fixture
def options(dataset: Path) -> TrainOptions:
    return TrainOptions(dataset=str(dataset), output=PLACE)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with local_gcs(tmp_path, "runs") as environment, door(environment["STORAGE_EMULATOR_HOST"]) as opened:
        for name, value in {**environment, "STORAGE_EMULATOR_HOST": opened.url}.items():
            monkeypatch.setenv(name, value)
        yield open_bucket(environment, "runs")


def names(bucket: Any) -> set[str]:
    return {blob.name.removeprefix("one/") for blob in bucket.client.list_blobs(bucket)}


def start(remote: GcsRunDirectory, options: TrainOptions, info: DatasetInfo) -> RunPlan:
    """Claim and open as a run does; gives the run's local directory."""
    plan = remote.plan(options, info)
    open_output(plan, options, info, threads=2)
    remote.open(plan)
    return plan


def save(plan: RunPlan, step: int, *kept: int) -> None:
    """What TensorFlow leaves on disk of a checkpoint, and of those before it."""
    folder = plan.path / "checkpoints"
    folder.mkdir(exist_ok=True)
    for end in ("index", "data-00000-of-00001"):
        (folder / f"ckpt-{step}.{end}").write_text(f"{step} {end}")
    for path in folder.glob("ckpt-*"):
        if path.name.partition(".")[0] not in {f"ckpt-{one}" for one in (step, *kept)}:
            path.unlink()
    lines = [f'model_checkpoint_path: "ckpt-{step}"']
    lines += [f'all_model_checkpoint_paths: "ckpt-{one}"' for one in (*kept, step)]
    (folder / "checkpoint").write_text("\n".join(lines) + "\n")


def checkpoint(step: int) -> set[str]:
    return {f"checkpoints/ckpt-{step}.index", f"checkpoints/ckpt-{step}.data-00000-of-00001"}


def test_checkpoints_follow_those_on_disk_and_are_fetched_by_the_next_machine(
    bucket: Any, options: TrainOptions, info: DatasetInfo
) -> None:
    with GcsRunDirectory(PLACE) as remote:
        plan = start(remote, options, info)
        assert names(bucket) == {"run.json"}
        for step, kept in ((3, ()), (6, (3,)), (9, (6,))):
            save(plan, step, *kept)
            (plan.path / "history.json").write_text(str(step))
            remote.save()
    state = {"run.json", "history.json", "checkpoints/checkpoint"}
    assert names(bucket) == state | checkpoint(6) | checkpoint(9)
    assert bucket.blob("one/history.json").download_as_bytes() == b"9"
    assert not plan.path.exists()

    # Of a checkpoint whose machine was lost while it was sent, the state file says nothing.
    bucket.blob("one/checkpoints/ckpt-12.index").upload_from_string(b"half")
    with GcsRunDirectory(PLACE) as remote:
        again = start(remote, options, info)
        assert again.earlier is not None
        assert again.earlier["threads"] == 2
        found = {path.name for path in (again.path / "checkpoints").iterdir()}
        assert found == {name.partition("/")[2] for name in checkpoint(6) | checkpoint(9)} | {"checkpoint"}
        save(again, 12, 9)
        remote.save()
    assert names(bucket) == state | checkpoint(9) | checkpoint(12)
    assert bucket.blob("one/checkpoints/ckpt-12.index").download_as_bytes() == b"12 index"


def finish(remote: GcsRunDirectory, plan: RunPlan) -> None:
    for name in ("saved_model.pb", "assets/model.json", "variables/variables.index"):
        path = plan.path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    remote.finish()


def test_a_run_is_finished_when_all_of_its_model_is_there(
    bucket: Any, options: TrainOptions, info: DatasetInfo
) -> None:
    bucket.blob("one/model/variables/variables.index").upload_from_string(b"of a machine lost while it sent the model")
    with pytest.raises(UsageError, match="holds no training run of ours"), GcsRunDirectory(PLACE) as remote:
        remote.plan(options, info)
    bucket.blob("one/model/variables/variables.index").delete()
    with GcsRunDirectory(PLACE) as remote:
        plan = start(remote, options, info)
        bucket.blob("one/model/variables/variables.index").upload_from_string(b"older")
    with GcsRunDirectory(PLACE) as remote:
        plan = start(remote, options, info)
        assert plan.earlier
        finish(remote, plan)
    assert bucket.blob("one/model/variables/variables.index").download_as_bytes() == b"variables/variables.index"
    with (
        pytest.raises(UsageError, match=f"--output {PLACE}: already holds a finished model"),
        GcsRunDirectory(PLACE) as remote,
    ):
        remote.plan(options, info)


def test_overwrite_deletes_only_what_is_ours(bucket: Any, options: TrainOptions, info: DatasetInfo) -> None:
    with GcsRunDirectory(PLACE) as remote:
        finish(remote, start(remote, options, info))
    bucket.blob("one/notes.txt").upload_from_string(b"mine")
    with GcsRunDirectory(PLACE) as remote:
        remote.plan(replace(options, overwrite=True), info)
        assert "model/saved_model.pb" in names(bucket)
        start(remote, replace(options, overwrite=True), info)
    assert names(bucket) == {"run.json", "notes.txt"}


def test_an_interrupted_run_with_other_options_is_refused_and_they_are_named(
    bucket: Any, options: TrainOptions, info: DatasetInfo
) -> None:
    with GcsRunDirectory(PLACE) as remote:
        start(remote, options, info)
    with (
        GcsRunDirectory(PLACE) as remote,
        pytest.raises(UsageError, match=r"interrupted run with --epochs 40, now it is 3"),
    ):
        remote.plan(replace(options, epochs=3), info)


def test_a_second_run_in_the_same_place_is_noticed_by_the_first(
    bucket: Any, options: TrainOptions, info: DatasetInfo
) -> None:
    with GcsRunDirectory(PLACE) as remote:
        plan = start(remote, options, info)
        save(plan, 3)
        remote.save()
        # Returns when the first has been sent.
        remote.save()
        with GcsRunDirectory(PLACE) as other:
            # Both go on from the same state.
            theirs = start(other, options, info)
            save(theirs, 6)
            other.save()
        save(plan, 4)
        remote.save()
        with pytest.raises(UsageError, match="another program has changed it; run one at a time"):
            remote.save()


def test_told_to_end_it_does_not_say_saved_before_it_has_arrived(
    bucket: Any, options: TrainOptions, info: DatasetInfo
) -> None:
    remote = GcsRunDirectory(PLACE)
    plan = start(remote, options, info)
    bucket.blob("one/checkpoints/checkpoint").upload_from_string(b"somebody else's")
    save(plan, 3)
    remote.save()
    with pytest.raises(UsageError, match="run one at a time"):
        remote.__exit__(RestartError)
