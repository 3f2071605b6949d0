"""Reading what prepare has written: frames, encodings, compression, damage."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pipelines.dataset.image_row import ImageRow
from pipelines.dataset.record_spec import RecordSpec
from pipelines.dataset.records import DamagedShard, read_shard
from pipelines.dataset.tfrecord import frame
from pipelines.prepare import examples

ROW = ImageRow("p", "p", sha256="ab" * 32, image_id="it", label="nevus", group_id="g", split="train", fold=2)


def _shard() -> bytes:
    spec = RecordSpec(("melanoma", "nevus"), 6)
    return b"".join(frame(examples.image_example(ROW, b"x%d" % copy, copy, spec)) for copy in range(3))


@pytest.mark.parametrize("name", ["s.tfrecord", "s.tfrecord.gz"])
def test_records_come_in_order_with_their_place(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(_shard()) if name.endswith("gz") else _shard())
    found = list(read_shard(str(tmp_path), name))
    assert [(record.position, record.copy, record.encoded) for record in found] == [
        (i, i, b"x%d" % i) for i in range(3)
    ]
    assert {(record.shard, record.sha256, record.image_id, record.class_name, record.fold) for record in found} == {
        (name, ROW.sha256, "it", "nevus", 2)
    }


@pytest.mark.parametrize("name", ["s.tfrecord", "s.tfrecord.gz"])
def test_any_damage_is_an_error_that_names_the_shard(tmp_path: Path, name: str) -> None:
    whole = gzip.compress(_shard()) if name.endswith("gz") else _shard()
    places = [0, len(whole) // 2, len(whole) - 1]
    if name == "s.tfrecord":
        # Length, its checksum, content. In a header of gzip there are bytes on which nothing depends.
        places += [3, 9, 40]
    flipped = [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in places]
    for data in (whole[:-1], whole[: len(whole) // 2], *flipped):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DamagedShard, match=f"^{name}: "):
            list(read_shard(str(tmp_path), name))


def test_the_damaged_record_is_named(tmp_path: Path) -> None:
    whole = bytearray(_shard())
    whole[len(whole) // 2] ^= 1
    (tmp_path / "s").write_bytes(whole)
    with pytest.raises(DamagedShard, match=r"^s: record 1 is damaged: data CRC differs$"):
        list(read_shard(str(tmp_path), "s"))
