"""Shards: their records, names and order do not depend on the order of rows."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from PIL import Image

from pipelines.dataset.image_row import WRITTEN, ImageRow, Stored, Thumbnail
from pipelines.dataset.known_images import CachedImage, read_cache
from pipelines.dataset.originals import original_of
from pipelines.dataset.record_spec import RecordSpec
from pipelines.prepare.shard_writer import SplitShards, WriteShards
from pipelines.storage.packs import PackWriter, read_pieces
from tests.support.collecting import run_with
from tests.support.image_rows import shuffled

SPEC = RecordSpec(("melanoma", "nevus"), 16)


class _Write(beam.PTransform):
    """One output of WriteShards."""

    def __init__(self, output: str, folder: Path, packs: Path, earlier: str = ""):
        super().__init__()
        self._output = output
        self._write = WriteShards(str(folder), str(packs), SPEC, 2, earlier)

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        return (inputs | self._write)[self._output]


PLAN = [{"train": SplitShards(2, 3), "test": SplitShards(1)}]


def photographs(folder: Path) -> list[ImageRow]:
    """Planned rows of three folds and a test split, one small picture each; some with copies."""
    rows = []
    for n in range(30):
        data = io.BytesIO()
        Image.fromarray(np.random.default_rng(n).integers(0, 256, (16, 16, 3), np.uint8)).save(data, "png")
        (folder / f"{n}.png").write_bytes(data.getvalue())
        known: dict[str, Any] = {
            "path": f"{folder}/{n}.png",
            "relative": f"{n}.png",
            "label": ("melanoma", "nevus")[n % 2],
        }
        placed: dict[str, Any] = {"split": "test"} if n < 6 else {"split": "train", "fold": n % 3}
        sha256 = hashlib.sha256(data.getvalue()).hexdigest()
        rows.append(ImageRow(**known, **placed, sha256=sha256, copies=1 if n < 20 else 2))
    return rows


def test_shards_hold_one_fold_each_in_the_order_of_folds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import tensorflow as tf

    rows = photographs(tmp_path)
    expected = Counter({one.sha256: one.copies for one in rows})
    folds = {one.sha256: one.fold for one in rows}
    shards = {}
    for name, order in (("one", rows), ("two", shuffled(rows))):
        written = run_with(order, PLAN, _Write("shards", tmp_path / name, tmp_path / "packs"))
        shards[name] = {shard.name: shard for shard, _ in written}
    assert shards["one"] == shards["two"]
    assert [(name, shard.fold) for name, shard in sorted(shards["one"].items())] == [
        ("test-00000-of-00001.tfrecord", -1),
        *((f"train-{index:05d}-of-00006.tfrecord", index // 2) for index in range(6)),
    ]
    read: Counter = Counter()
    for name, shard in shards["one"].items():
        path = tmp_path / "one" / name
        assert path.read_bytes() == (tmp_path / "two" / name).read_bytes()
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            sha256 = features["image/key/sha256"].bytes_list.value[0].decode()
            assert features["image/fold"].int64_list.value == [folds[sha256]] == [shard.fold]
            read[sha256] += 1
    assert read == expected
    # Beam has nothing to complain of, such as keys that it does not know how to compare.
    assert not caplog.records


def packed(rows: Sequence[ImageRow], packs: Path) -> list[ImageRow]:
    """The rows with their encoded originals in two packs."""
    placed = []
    for some in (rows[::2], rows[1::2]):
        writer: PackWriter[ImageRow] = PackWriter(str(packs))
        for row in some:
            original = original_of(Path(row.path).read_bytes(), SPEC)
            writer.add(row._replace(stored=Stored("", (), original.sums)), 0, [b"thumbnail", original.encoded])
        for row, name, pieces in writer.flush():
            assert row.stored
            stored = row.stored._replace(file=name, pieces=pieces[1:])
            placed.append(row._replace(stored=stored, thumbnail=Thumbnail(name, pieces[0])))
    return placed


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.tfrecord")}


@pytest.fixture
def made(tmp_path: Path) -> tuple[list[ImageRow], Path]:
    """Rows whose originals are in packs, and the shards made of the files instead."""
    rows = photographs(tmp_path)
    run_with(rows, PLAN, _Write("rows", tmp_path / "files", tmp_path / "packs"))
    return packed(rows, tmp_path / "packs"), tmp_path / "files"


def write_rows(rows: Sequence[ImageRow], folder: Path, packs: Path, earlier: str = "") -> dict[str, ImageRow]:
    return {row.sha256: row for row in run_with(rows, PLAN, _Write("rows", folder, packs, earlier))}


def test_originals_in_packs_give_the_bytes_of_the_files_without_reading_them(
    made: tuple[list[ImageRow], Path], tmp_path: Path
) -> None:
    rows, files = made
    gone = [row._replace(path=f"{row.path}.gone") for row in rows]
    written = write_rows(gone, tmp_path / "out", tmp_path / "packs")
    assert {row.outcome for row in written.values()} == {WRITTEN}
    assert content(tmp_path / "out") == content(files)
    for row in written.values():
        # From then on the row says where its records are.
        assert row.stored
        path = str(tmp_path / "out" / row.stored.file)
        found = read_pieces(path, row.stored.pieces)
        assert len(row.stored.pieces) == row.copies
        assert found[row.stored.pieces[0]] == original_of(Path(row.path[:-5]).read_bytes(), SPEC).encoded
    # Every record can be used again, by a run whose copies are as many, fewer or more.
    for more, copies in (("same", 0), ("fewer", -1), ("more", 1)):
        again = [row._replace(outcome="", copies=max(1, row.copies + copies)) for row in written.values()]
        write_rows(again, tmp_path / more, tmp_path / "none", str(tmp_path / "out"))
        fresh = [row._replace(path=row.path[:-5], stored=None) for row in again]
        write_rows(fresh, tmp_path / f"{more}, fresh", tmp_path / "none")
        assert content(tmp_path / more) == content(tmp_path / f"{more}, fresh")
    assert content(tmp_path / "same") == content(files)


def known(folder: Path) -> dict[str, CachedImage]:
    files = sorted(folder.glob("known-*"))
    assert [path.name for path in files] == [f"known-{number:05d}-of-00007.parquet" for number in range(7)]
    return {sha256: image for path in files for sha256, image in read_cache(str(path))}


def test_beside_each_shard_lies_what_is_known_of_its_images(made: tuple[list[ImageRow], Path], tmp_path: Path) -> None:
    rows, _ = made
    written = write_rows(rows, tmp_path / "out", tmp_path / "packs")
    images = known(tmp_path / "out")
    assert {sha256: image.stored for sha256, image in images.items()} == {
        sha256: row.stored for sha256, row in written.items()
    }
    assert {image.thumbnail for image in images.values()} == {b"thumbnail"}
    # What has lost its thumbnail is not known, and an update decodes it again.
    lost = rows[0].thumbnail
    assert lost
    (tmp_path / "packs" / lost.pack).unlink()
    write_rows(rows, tmp_path / "again", tmp_path / "packs")
    kept = {row.sha256 for row in rows if row.thumbnail and row.thumbnail.pack != lost.pack}
    assert known(tmp_path / "again").keys() == kept
    assert content(tmp_path / "again") == content(tmp_path / "out")


def test_sums_are_the_same_wherever_the_original_comes_from(made: tuple[list[ImageRow], Path], tmp_path: Path) -> None:
    rows, _ = made
    unpacked = [row._replace(stored=None) for row in rows]
    packs = tmp_path / "packs"
    first, second = (run_with(some, PLAN, _Write("sums", tmp_path / "out", packs)) for some in (rows, unpacked))
    assert sorted(first) == sorted(second)
    assert len(first) == sum(row.split == "train" for row in rows)


@pytest.mark.parametrize("damage", ["lost", "cut short", "a byte is wrong"])
def test_what_a_pack_has_lost_is_made_of_the_file_again(
    made: tuple[list[ImageRow], Path], tmp_path: Path, damage: str
) -> None:
    rows, files = made
    row = rows[0]
    assert row.stored
    path = tmp_path / "packs" / row.stored.file
    data = bytearray(path.read_bytes())
    if damage == "lost":
        path.unlink()
    elif damage == "cut short":
        path.write_bytes(data[: row.stored.pieces[0].offset + 5])
    else:
        data[row.stored.pieces[0].offset + 5] ^= 1
        path.write_bytes(data)
    written = write_rows(rows, tmp_path / "out", tmp_path / "packs")
    assert {one.outcome for one in written.values()} == {WRITTEN}
    assert content(tmp_path / "out") == content(files)


def test_an_image_that_is_lost_and_changed_is_rejected_alone(made: tuple[list[ImageRow], Path], tmp_path: Path) -> None:
    rows, _ = made
    places = {row.sha256: row.stored.file for row in rows if row.stored}
    pack = places[rows[0].sha256]
    changed, gone, *_ = (row for row in rows if places[row.sha256] == pack)
    (tmp_path / "packs" / pack).unlink()
    with open(changed.path, "ab") as file:
        file.write(b"more")
    Path(gone.path).unlink()
    written = write_rows(rows, tmp_path / "out", tmp_path / "packs")
    assert (written[changed.sha256].stage, written[changed.sha256].reason) == ("write", "changed")
    assert (written[gone.sha256].stage, written[gone.sha256].reason) == ("write", "unreadable")
    assert {written[row.sha256].outcome for row in rows if row not in (changed, gone)} == {WRITTEN}
