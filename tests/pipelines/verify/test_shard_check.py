"""One shard: every record, and the file that holds it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from pipelines.common.cli import CheckFailed
from pipelines.dataset.example_proto import Example
from pipelines.dataset.image_row import ImageRow
from pipelines.dataset.record_schema import feature_kinds, record_schema
from pipelines.dataset.record_spec import RecordSpec
from pipelines.dataset.tfrecord import frame
from pipelines.domain.dataset_json import Shard
from pipelines.prepare.examples import image_example
from pipelines.verify.shard_check import Expected, verify_shard
from tests.support.image_files import encode, photograph

SPEC = RecordSpec(("melanoma", "nevus"), 16)
EXPECTED = Expected(
    classes=SPEC.classes,
    image_size=16,
    format="jpeg",
    compression="none",
    kinds=feature_kinds(
        record_schema(
            {
                "image_size": 16,
                "classes": SPEC.classes,
                "encoding": {"format": "jpeg"},
                "splits": {"train": {"folds": []}},
            }
        )
    ),
)
ROW = ImageRow("a", "a", image_id="a", sha256="ab" * 32, label="nevus", group_id="g", lesion_ids=("L",))
GOOD = image_example(ROW, encode(photograph(16, 16)), 1, SPEC)


def written(folder: Path, *records: bytes, **said: Any) -> Shard:
    """A shard of these records, as dataset.json would list it but for what is `said`."""
    data = b"".join(map(frame, records))
    (folder / "shard").write_bytes(data)
    facts = {"examples": len(records), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), **said}
    return Shard(name="shard", split="train", **facts)


def changed(key: str, value: Any) -> bytes:
    """The good record with another value of a key; None takes the key away."""
    example = Example.FromString(GOOD)
    feature = example.features.feature[key]
    if value is None:
        del example.features.feature[key]
    elif isinstance(value, int):
        feature.int64_list.value[:] = [value]
    else:
        feature.bytes_list.value[:] = value if isinstance(value, list) else [value]
    return example.SerializeToString()


def test_a_good_shard_gives_the_facts_of_its_records_in_order(tmp_path: Path) -> None:
    shard = written(tmp_path, GOOD, changed("image/source_id", b"b"))
    first, second = verify_shard(str(tmp_path), shard, EXPECTED).records
    assert (first.offset, first.image_id, first.label, first.copy) == (0, "a", "nevus", 1)
    assert (first.sha256, first.group_id, first.lesion_id, first.fold) == (bytes.fromhex("ab" * 32), "g", "L", -1)
    assert (second.offset, second.image_id) == (len(frame(GOOD)), "b")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("image/fold", None, "has no image/fold"),
        ("image/colour", b"red", "has a key 'image/colour' that schema.pbtxt does not name"),
        ("image/height", 17, "image/height is 17, dataset.json says 16"),
        ("image/format", b"png", "image/format is 'png', dataset.json says 'jpeg'"),
        ("image/class/label", 0, "image/class/label is 0 and image/class/text 'nevus'"),
        ("image/class/label", 2, "image/class/label is 2 and image/class/text 'nevus'"),
        ("image/fold", 3, "image/fold is 3, the shard's is -1"),
        ("image/key/sha256", b"xyz", "image/key/sha256 is 'xyz'"),
        ("image/source_id", [b"a", b"b"], "image/source_id holds 2 values, not one"),
        ("image/source_id", 7, "image/source_id holds int64, not bytes"),
        ("image/encoded", encode(photograph(16, 15)), "the image is 15 x 16, dataset.json says 16 x 16"),
        ("image/encoded", encode(photograph(16, 16), "PNG"), "image/encoded is png, not jpeg"),
        ("image/encoded", encode(photograph(16, 16))[:-40], "the image does not decode: "),
    ],
)
def test_a_wrong_record_is_named_by_its_place_and_what_is_wrong(
    tmp_path: Path, key: str, value: Any, says: str
) -> None:
    shard = written(tmp_path, GOOD, changed(key, value))
    with pytest.raises(CheckFailed) as failed:
        verify_shard(str(tmp_path), shard, EXPECTED)
    assert str(failed.value).startswith(f"shard: record 1 (byte {len(frame(GOOD)):,}): {says}")


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"bytes": 1}, "bytes, dataset.json says 1"),
        ({"sha256": "0" * 64}, f"SHA-256 is .*, dataset.json says {'0' * 64}"),
        ({"examples": 3}, "has 1 records, dataset.json says 3"),
    ],
)
def test_a_shard_that_dataset_json_tells_otherwise_is_refused(
    tmp_path: Path, said: dict[str, int | str], says: str
) -> None:
    with pytest.raises(CheckFailed, match=says):
        verify_shard(str(tmp_path), written(tmp_path, GOOD, **said), EXPECTED)


def test_damage_comes_before_what_follows_from_it(tmp_path: Path) -> None:
    shard = written(tmp_path, GOOD, changed("image/fold", 3))
    (tmp_path / "shard").write_bytes((tmp_path / "shard").read_bytes()[:-1])
    with pytest.raises(CheckFailed, match=r"^shard: record 1 \(byte .*\): the file ends in its data CRC$"):
        verify_shard(str(tmp_path), shard, EXPECTED)
    (tmp_path / "shard").unlink()
    with pytest.raises(CheckFailed, match=r"^shard: cannot be read: "):
        verify_shard(str(tmp_path), shard, EXPECTED)
