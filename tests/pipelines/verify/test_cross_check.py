"""What records say together: leaks through a lesion that no record names, and rows that stand for an image."""

from __future__ import annotations

import hashlib

import pytest

from pipelines.common.cli import CheckFailed
from pipelines.dataset.image_row import ImageRow
from pipelines.domain.dataset_json import Shard
from pipelines.verify.cross_check import CrossCheck
from pipelines.verify.shard_check import RecordFacts

TRAIN = Shard("train-00000-of-00001.tfrecord", "train", 2, 0, "")
TEST = Shard("test-00000-of-00001.tfrecord", "test", 1, 0, "")


def row(name: str, split: str, *lesions: str, copies: int = 1) -> ImageRow:
    return ImageRow(
        path=f"{name}.jpg",
        relative=f"{name}.jpg",
        image_id=name,
        label="nevus",
        sha256=hashlib.sha256(name.encode()).hexdigest(),
        lesion_ids=lesions,
        group_id=name,
        split=split,
        copies=copies,
        outcome="written",
    )


def facts(of: ImageRow, copy: int = 0, lesion: str | None = None) -> RecordFacts:
    first = of.lesion_ids[0] if of.lesion_ids else ""
    return RecordFacts(
        offset=1000,
        sha256=bytes.fromhex(of.sha256),
        image_id=of.image_id,
        label=of.label,
        fold=of.fold,
        copy=copy,
        group_id=of.group_id,
        lesion_id=first if lesion is None else lesion,
    )


def ledger(*rows: ImageRow) -> CrossCheck:
    made = CrossCheck()
    for number, each in enumerate(rows):
        made.add_row(f"manifest: row {number}", each)
    return made


def test_a_lesion_that_no_record_names_leaks_all_the_same() -> None:
    one, other = row("one", "test", "A", "B"), row("other", "train", "B")
    checked = ledger(one, other)
    checked.add_shard(TEST, [facts(one)])
    with pytest.raises(CheckFailed) as found:
        checked.add_shard(TRAIN, [facts(other)])
    assert str(found.value) == (
        f"{TRAIN.name}: record 0 (byte 1,000): lesion 'B' is in train and in test ({TEST.name}: record 0) (other)"
    )


def test_images_without_a_lesion_have_none_in_common() -> None:
    one, other = row("one", "test"), row("other", "train", copies=2)
    checked = ledger(one, other)
    checked.add_shard(TEST, [facts(one)])
    checked.add_shard(TRAIN, [facts(other, 1), facts(other, 0)])
    checked.close()


def test_a_leak_in_a_later_shard_comes_before_another_difference() -> None:
    one, other = row("one", "test", "A"), row("other", "train", "A")
    checked = ledger(one, other)
    checked.add_shard(TEST, [facts(one, copy=7)])
    with pytest.raises(CheckFailed, match="lesion 'A' is in train and in test"):
        checked.add_shard(TRAIN, [facts(other)])


@pytest.mark.parametrize("lesion", ["", "B", "A; B", "AA"])
def test_a_record_names_the_first_of_its_lesions(lesion: str) -> None:
    one = row("one", "test", "A", "B")
    checked = ledger(one)
    checked.add_shard(TEST, [facts(one, lesion=lesion)])
    if lesion == "A; B":
        # A table may know a lesion by such a name: what the manifest holds of it is the same.
        checked.close()
        return
    with pytest.raises(CheckFailed, match=f"image/lesion_id is '{lesion}', the manifest says 'A; B'"):
        checked.close()
