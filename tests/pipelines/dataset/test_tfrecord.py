"""Reading TFRecords and Examples without TensorFlow: the same as TensorFlow, and where a file is damaged."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from pipelines.dataset.example_proto import parse_example
from pipelines.dataset.tfrecord import DamagedRecord, frame, open_shard, read_records

CONTENT = [b"first", b"", b"the third, " * 200_000]


def read(path: Path, compression: str = "none") -> tuple[list[tuple[int, bytes]], str, int]:
    with open_shard(str(path), compression) as shard:
        found = list(read_records(shard.records))
        return found, shard.stored.finish(), shard.stored.size


def test_it_reads_what_tensorflow_writes_and_sees_the_file_as_it_is_stored(tmp_path: Path) -> None:
    import tensorflow as tf

    for compression, kind in (("none", ""), ("gzip", "GZIP")):
        path = tmp_path / f"some.{compression}"
        with tf.io.TFRecordWriter(str(path), kind) as writer:
            for data in CONTENT:
                writer.write(data)
        found, sha256, size = read(path, compression)
        assert [data for _, data in found] == CONTENT
        assert [offset for offset, _ in found] == [0, 21, 37]
        assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert size == path.stat().st_size

    example = tf.train.Example()
    example.features.feature["a"].bytes_list.value.append(b"\xff")
    example.features.feature["b"].int64_list.value.extend([-1, 1 << 62])
    example.features.feature["c"].float_list.value.append(0.5)
    features = parse_example(example.SerializeToString())
    assert {key: feature.WhichOneof("kind") for key, feature in features.items()} == {
        "a": "bytes_list",
        "b": "int64_list",
        "c": "float_list",
    }
    assert features["a"].bytes_list.value[:] == [b"\xff"]
    assert features["b"].int64_list.value[:] == [-1, 1 << 62]
    assert features["c"].float_list.value[:] == [0.5]
    with pytest.raises(ValueError, match=r"is no tf\.train\.Example"):
        parse_example(b"\xff\xff")


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


WHOLE = b"".join(map(frame, [b"first", b"second"]))


@pytest.mark.parametrize(
    ("data", "index", "offset", "what"),
    [
        (flipped(WHOLE, 3), 0, 0, "length CRC differs"),
        (flipped(WHOLE, 9), 0, 0, "length CRC differs"),
        (flipped(WHOLE, 14), 0, 0, "data CRC differs"),
        (flipped(WHOLE, len(WHOLE) - 1), 1, 21, "data CRC differs"),
        (WHOLE[:30], 1, 21, "the file ends 9 bytes into its header"),
        (WHOLE[:35], 1, 21, "the file ends 2 bytes into its 6 bytes of data"),
        (WHOLE[:-1], 1, 21, "the file ends in its data CRC"),
        (WHOLE + b"\0", 2, 43, "the file ends 1 bytes into its header"),
    ],
)
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_damage_is_found_at_its_record(
    tmp_path: Path, data: bytes, index: int, offset: int, what: str, compression: str
) -> None:
    path = tmp_path / "shard"
    path.write_bytes(data if compression == "none" else gzip.compress(data))
    with pytest.raises(DamagedRecord) as found:
        read(path, compression)
    assert (found.value.index, found.value.offset, found.value.what) == (index, offset, what)


def test_a_length_that_cannot_be_is_not_believed(tmp_path: Path) -> None:
    length = (1 << 40).to_bytes(8, "little")
    # The header of a record whose data are these eight bytes ends with their CRC: the CRC of such a length.
    (tmp_path / "shard").write_bytes(length + frame(length)[-4:] + b"data")
    with pytest.raises(DamagedRecord) as found:
        read(tmp_path / "shard")
    assert found.value.what == "says that it has 1,099,511,627,776 bytes"


@pytest.mark.parametrize("damage", ["cut", "flipped", "not gzip"])
def test_damaged_compression_is_named(tmp_path: Path, damage: str) -> None:
    data = gzip.compress(b"".join(map(frame, [bytes(range(256)) * 9, b"second"])))
    data = {"cut": data[:-20], "flipped": flipped(data, len(data) - 6), "not gzip": WHOLE}[damage]
    (tmp_path / "shard").write_bytes(data)
    with pytest.raises(DamagedRecord, match="gzip data are damaged"):
        read(tmp_path / "shard", "gzip")


def test_a_file_that_cannot_be_opened_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        read(tmp_path / "none")


def test_framed_records_are_read_by_tensorflow(tmp_path: Path) -> None:
    import tensorflow as tf

    path = tmp_path / "x.tfrecord"
    path.write_bytes(frame(b"first") + frame(b"") + frame(b"x" * 100_000))
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(path))] == [b"first", b"", b"x" * 100_000]
