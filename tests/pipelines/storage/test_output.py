"""Output folders: nothing of others is touched, nothing half-written looks finished; sums that do not agree fail."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter

import pyarrow.parquet as pq
import pytest

from pipelines.beam import table_io
from pipelines.common.cli import LimitExceeded, UsageError
from pipelines.dataset import accounting
from pipelines.dataset import description as dataset_description
from pipelines.dataset import manifest as dataset_manifest
from pipelines.dataset.description import Shard
from pipelines.dataset.image_row import ImageRow
from pipelines.dataset.tfrecord import frame
from pipelines.storage import filesystem, output
from tests.support.collecting import run

OWN = re.compile(r"part-\d+$|done\.json$")


def names(folder):
    return sorted(filesystem.list_tree(str(folder)))


def require(folder, overwrite=False, beside=()):
    output.require_output(str(folder), "done.json", overwrite, list(beside))


def publish(folder, description):
    return run([description], output.Publish(str(folder), OWN, "done.json"))


def test_new_and_empty_folders_are_fine_and_stay_untouched(tmp_path):
    require(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    require(tmp_path / "empty")
    assert names(tmp_path) == []


def test_foreign_files_are_never_written_over(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="not empty"):
            require(tmp_path, overwrite)
    assert names(tmp_path) == ["thesis.txt"]


def test_finished_output_needs_overwrite_and_interrupted_does_not(tmp_path):
    (tmp_path / "done.json").write_text("{}")
    with pytest.raises(UsageError, match="--overwrite"):
        require(tmp_path)
    require(tmp_path, overwrite=True)
    (tmp_path / "done.json").unlink()
    output.begin(str(tmp_path))
    require(tmp_path)


def test_a_folder_called_like_ours_proves_nothing(tmp_path):
    (tmp_path / output.TEMPORARY).mkdir()
    (tmp_path / output.TEMPORARY / "precious.txt").write_text("mine")
    for _ in range(2):
        with pytest.raises(UsageError, match="not empty"):
            require(tmp_path, overwrite=True)
        assert names(tmp_path)[-1].startswith(f"{output.TEMPORARY}/precious")
        (tmp_path / "done.json").write_text("{}")
        with pytest.raises(UsageError, match="not ours"):
            require(tmp_path, overwrite=True)
        (tmp_path / "done.json").unlink()


def test_unwritable_and_overlapping_outputs_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--output"):
        require(tmp_path / "file" / "below")
    with pytest.raises(UsageError, match="also an input"):
        require(tmp_path / "x", beside=[f"{tmp_path}/x/"])


def test_publish_replaces_own_files_only_and_ends_with_the_marker(tmp_path):
    for name in ("part-1", "part-2", "done.json", "thesis.txt"):
        (tmp_path / name).write_text("old")
    output.begin(str(tmp_path))
    filesystem.write_bytes(f"{output.publish_folder(str(tmp_path))}/part-1", b"new")
    filesystem.write_bytes(f"{output.publish_folder(str(tmp_path))}/nested/x", b"new")
    publish(tmp_path, b"{}")
    assert names(tmp_path) == ["done.json", "nested/x", "part-1", "thesis.txt"]
    assert (tmp_path / "part-1").read_text() == "new"
    assert (tmp_path / "thesis.txt").read_text() == "old"


def test_abandoned_run_leaves_nothing(tmp_path):
    folder = tmp_path / "out"
    existing = output.begin(str(folder / "deep"))
    output.abandon(str(folder / "deep"), existing)
    assert names(tmp_path) == []
    assert not folder.exists()
    (tmp_path / "mine").mkdir()
    output.abandon(str(tmp_path / "mine"), output.begin(str(tmp_path / "mine")))
    assert (tmp_path / "mine").is_dir()


def rows_of(*outcomes):
    return [
        ImageRow(f"/a/{n}", f"{n}", outcome=outcome, split="train", label="a", copies=2)
        for n, outcome in enumerate(outcomes)
    ]


def tallies(rows, listed):
    totals: Counter = Counter()
    for row in rows:
        totals.update(dataset_description.tally_row(row))
    return Counter({("listed",): len(listed), ("listed paths",): sum(map(accounting.path_hash, listed))}), totals


def test_sums_agree():
    rows = rows_of("written", "duplicate", "rejected", "undersampled")
    accounting.check_sums(*tallies(rows, [row.path for row in rows]))


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        (["/a/0", "/a/1", "/a/2"], "3 files listed, but 1 written .* = 2: 1 lost"),
        (["/a/0"], "1 files listed, .* = 2: 1 counted twice"),
        (["/a/0", "/a/9"], "not the same files"),
    ],
)
def test_sums_that_disagree_fail_and_say_by_how_much(listed, says):
    with pytest.raises(accounting.AccountingError, match=says):
        accounting.check_sums(*tallies(rows_of("written", "rejected"), listed))


def test_examples_missing_from_a_shard_fail():
    rows = rows_of("written", "written")
    listed, totals = tallies(rows, [row.path for row in rows])
    with pytest.raises(accounting.AccountingError, match="4 examples planned, but the shards hold 3"):
        dataset_description.describe_dataset(
            listed, totals, {}, [Shard("train-0", "train", 3, 9, "ab")], ["a", "b"], {}
        )
    description = dataset_description.describe_dataset(
        listed, totals, {}, [Shard("train-0", "train", 4, 9, "ab")], ["a", "b"], {"seed": 1}
    )
    assert description["splits"]["train"]["per_class"]["a"] == {"originals": 2, "examples": 4}
    other = dataset_description.describe_dataset(
        listed, totals, {}, [Shard("train-0", "train", 4, 9, "ab")], ["a", "b"], {"seed": 2}
    )
    assert description["fingerprint"] != other["fingerprint"]


def test_reject_limit():
    accounting.check_reject_fraction({"rejected": 1, "listed": 4}, 0.25, "out")
    with pytest.raises(LimitExceeded, match="2 of 4 files rejected"):
        accounting.check_reject_fraction({"rejected": 2, "listed": 4}, 0.25, "out")


def test_tables_are_sorted_complete_and_the_same_for_any_order(tmp_path):
    rows = [
        ImageRow(f"/a/{n:03}", f"{n:03}", outcome="rejected", stage="check", reason="x", message="ü \udce9")
        for n in range(100)
    ]
    digests = []
    for order, folder in ((rows, "one"), (rows[::-1], "two")):
        pattern = f"{tmp_path}/{folder}/rejects-{{index:05d}}-of-{{count:05d}}.jsonl"
        run(
            order,
            table_io.WriteTable(pattern, dataset_manifest.rejects_bytes, dataset_manifest.by_path, rows_per_shard=40),
        )
        files = sorted((tmp_path / folder).iterdir())
        assert [file.name for file in files] == [f"rejects-0000{n}-of-00003.jsonl" for n in range(3)]
        lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        assert sorted(line["path"] for line in lines) == [row.path for row in rows]
        digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert digests[0] == digests[1]


def test_an_empty_table_is_a_file_all_the_same(tmp_path):
    pattern = f"{tmp_path}/m-{{index}}-of-{{count}}.parquet"
    run([], table_io.WriteTable(pattern, dataset_manifest.manifest_bytes, dataset_manifest.by_path))
    assert pq.read_table(tmp_path / "m-0-of-1.parquet").num_rows == 0


def test_manifest_rows_are_checked_against_the_schema():
    with pytest.raises(Exception, match=r"null|None|nullable"):
        dataset_manifest.parquet_bytes([{"id": None, "path": "x"}], dataset_manifest.MANIFEST_SCHEMA)


def test_frames_are_tfrecords(tmp_path):
    import tensorflow as tf

    path = tmp_path / "x.tfrecord"
    path.write_bytes(frame(b"first") + frame(b"") + frame(b"x" * 100_000))
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(path))] == [b"first", b"", b"x" * 100_000]


def test_what_is_discarded_is_what_an_interrupted_run_left(tmp_path):
    folder = tmp_path / "out" / "deep"
    output.discard(str(folder), OWN, "done.json")
    output.begin(str(folder))
    (folder / "part-1").write_text("put in place")
    output.discard(str(folder), OWN, "done.json")
    assert not folder.exists()
    output.begin(str(folder))
    (folder / "part-1").write_text("of the finished run that was to be replaced")
    (folder / "done.json").write_text("{}")
    output.discard(str(folder), OWN, "done.json")
    assert names(folder) == ["done.json", "part-1"]
