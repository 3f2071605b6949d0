"""The verify command on a dataset that prepare wrote: sound as it is, and after each of many ways to break it."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.common.cli import CheckFailed, UsageError
from pipelines.dataset.finished import open_dataset
from pipelines.dataset.known_images import read_cache
from pipelines.dataset.manifest import MANIFEST_SCHEMA, PAST_SCHEMA, parquet_bytes
from pipelines.dataset.record_spec import RecordSpec
from pipelines.domain.dataset_json import SPLITS
from pipelines.imaging.images import encode_jpeg
from pipelines.verify import command as verify_command
from pipelines.verify.graph_check import Statistics, check_graphs
from tests.support.commands import Command, besides_progress
from tests.support.damage import DATASET, Copy, image_of, set_text
from tests.support.killing import go_on, stopped
from tests.support.startup import started

if TYPE_CHECKING:
    import tensorflow as tf

SIZE = 48
TRAIN = ("train-00000-of-00002.tfrecord", "train-00001-of-00002.tfrecord")
TEST = "test-00000-of-00001.tfrecord"


def prepare(command: Command, images: Path, metadata: Path, output: Path, *more: object) -> Path:
    done = command(
        *("pipelines.prepare", "--input", images, "--metadata", metadata, "--output", output),
        *("--image_size", SIZE, *more),
    )
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture(scope="module")
def dataset(command: Command, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset in two folds, with a test split and copies."""
    output = tmp_path_factory.mktemp("verified") / "dataset"
    return prepare(command, sample / "images", sample / "metadata.csv", output, "--folds", 2)


@pytest.fixture
def copied(dataset: Path, tmp_path: Path) -> Copy:
    """A copy to break."""
    shutil.copytree(dataset, tmp_path / "copy")
    return Copy(tmp_path / "copy")


def first_difference(copied: Copy) -> str:
    with pytest.raises(CheckFailed) as found:
        verify_command.main([str(copied.folder)])
    assert "\n" not in str(found.value)
    return str(found.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sound_dataset_is_ok_and_told_of(process: Command, dataset: Path, workers: int) -> None:
    done = process("pipelines.verify", dataset, "--workers", workers)
    assert (done.returncode, besides_progress(done.stderr)) == (0, [])
    description = json.loads((dataset / DATASET).read_text())
    counts, train = description["counts"], description["splits"]["train"]
    lines = done.stdout.splitlines()
    assert lines[-1] == "ok"
    size = sum(path.stat().st_size for path in dataset.glob("*.tfrecord"))
    assert lines[0].startswith(f"shards: {len(list(dataset.glob('*.tfrecord')))} of {size:,} bytes")
    records = sum(description["splits"][split]["examples"] for split in SPLITS)
    assert lines[1] == f"records: {records}, each with a jpeg image of {SIZE} x {SIZE} that decodes"
    assert f"train {train['originals']} images in {train['examples']}, validation 0 images in 0" in lines[2]
    images = counts["listed"] - counts["ignored"]
    assert f"manifest: {images} files = {counts['written']} written + 1 duplicates + 4 rejected" in lines[3]
    assert description["fingerprint"][:16] in lines[4]


def test_the_schema_of_the_records_is_one_that_tensorflow_reads_them_with(dataset: Path) -> None:
    import tensorflow as tf
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2
    from tensorflow_transform.tf_metadata import schema_utils

    schema = text_format.Parse((dataset / "schema.pbtxt").read_text(), schema_pb2.Schema())
    specification = schema_utils.schema_as_feature_spec(schema).feature_spec
    assert set(specification) == set(next(iter(Copy(dataset).records(TEST))).features.feature)
    description = json.loads((dataset / DATASET).read_text())
    classes = description["classes"]
    labels = []
    for record in tf.data.TFRecordDataset([str(dataset / name) for name in TRAIN]):
        values = tf.io.parse_single_example(record, specification)
        labels.append(classes[values["image/class/label"]])
    per_class = description["splits"]["train"]["per_class"]
    assert Counter(labels) == {name: entry["examples"] for name, entry in per_class.items()}
    domains = {feature.name: feature for feature in schema.feature}
    assert list(domains["image/class/text"].string_domain.value) == classes
    assert (domains["image/fold"].int_domain.min, domains["image/fold"].int_domain.max) == (-1, 1)


def test_one_flipped_byte_is_named_by_shard_record_and_byte(process: Command, copied: Copy) -> None:
    offset, length = copied.places(TRAIN[1])[17]
    copied.flip(TRAIN[1], offset + 12 + length // 2)
    done = process("pipelines.verify", copied.folder, "--workers", 2)
    assert (done.returncode, done.stdout) == (1, "")
    (difference,) = besides_progress(done.stderr)
    assert difference == f"pipelines.verify: {TRAIN[1]}: record 17 (byte {offset:,}): data CRC differs"


def test_the_first_of_two_differences_is_told(copied: Copy) -> None:
    copied.flip(TRAIN[1], 20)
    offset, _ = copied.places(TRAIN[0])[40]
    copied.flip(TRAIN[0], offset + 2)
    copied.flip(TRAIN[0], copied.places(TRAIN[0])[39][0] + 5000)
    assert first_difference(copied) == f"{TRAIN[0]}: record 40 (byte {offset:,}): length CRC differs"


def test_a_cut_shard_is_named_where_it_ends(copied: Copy) -> None:
    offset, length = copied.places(TRAIN[0])[-1]
    data = (copied.folder / TRAIN[0]).read_bytes()
    (copied.folder / TRAIN[0]).write_bytes(data[: offset + 12 + 100])
    number = copied.entry(TRAIN[0])["examples"] - 1
    assert first_difference(copied) == (
        f"{TRAIN[0]}: record {number} (byte {offset:,}): the file ends 100 bytes into its {length:,} bytes of data"
    )
    (copied.folder / TRAIN[0]).write_bytes(data[:offset])
    assert first_difference(copied) == f"{TRAIN[0]}: has {offset:,} bytes, dataset.json says {len(data):,}"


def test_shards_that_changed_places_are_found(copied: Copy) -> None:
    one, other = (copied.folder / name for name in TRAIN)
    contents = one.read_bytes(), other.read_bytes()
    assert contents[0] != contents[1]
    one.write_bytes(contents[1])
    other.write_bytes(contents[0])
    assert first_difference(copied).startswith(f"{TRAIN[0]}: ")
    # Also when they are of one size, and dataset.json knows.
    copied.describe_shard(TRAIN[0])
    copied.describe_shard(TRAIN[1])
    assert first_difference(copied) == f"{TRAIN[0]}: record 0 (byte 0): image/fold is 1, the shard's is 0"


def test_other_bytes_of_the_same_size_are_found_by_their_hash(copied: Copy) -> None:
    records = list(copied.records(TRAIN[0]))
    copied.write(TRAIN[0], records[1:] + records[:1], describe=False)
    assert first_difference(copied).startswith(f"{TRAIN[0]}: SHA-256 is ")


def test_files_missing_and_left_over_are_named(copied: Copy) -> None:
    (copied.folder / "train-00002-of-00003.tfrecord").write_bytes(b"")
    assert first_difference(copied).startswith("train-00002-of-00003.tfrecord: lies among the shards, but")
    (copied.folder / "train-00002-of-00003.tfrecord").unlink()
    for name in (TEST, "standardize_fn/saved_model.pb", "transform_fn/saved_model.pb", "schema.pbtxt"):
        data = (copied.folder / name).read_bytes()
        (copied.folder / name).unlink()
        assert first_difference(copied) == f"{name} is missing"
        (copied.folder / name).write_bytes(data)
    (copied.folder / "manifest-00001-of-00002.parquet").write_bytes(b"")
    assert first_difference(copied) == "manifest-00000-of-00001.parquet: is none of the 2 manifest files"
    (copied.folder / "manifest-00001-of-00002.parquet").unlink()
    (copied.folder / "notes.txt").write_text("mine")
    verify_command.main([str(copied.folder)])


EDITS: dict[str, tuple[list, Callable, str]] = {
    "listed": (["counts", "listed"], lambda n: n + 1, "counts.listed is "),
    "written": (["counts", "written"], lambda n: n + 1, "counts.written is "),
    "with lesion": (["counts", "with_lesion_id"], lambda n: n - 1, "counts.with_lesion_id is "),
    "reason": (["dropped", "duplicate"], lambda n: n + 1, "dropped.duplicate is 2, manifest and shards give 1"),
    "reason added": (["dropped", "too_large"], lambda _: 1, "dropped.too_large is there, though nothing gives it"),
    "originals": (["splits", "train", "originals"], lambda n: n + 1, "splits.train.originals is "),
    "examples": (["splits", "test", "examples"], lambda n: n + 1, "splits.test.examples is "),
    "class": (
        ["splits", "train", "per_class", "nevus", "originals"],
        lambda n: n + 1,
        "splits.train.per_class.nevus.originals is ",
    ),
    "fold": (["splits", "train", "folds", 1, "examples"], lambda n: n + 1, "splits.train.folds.1.examples is "),
    "bytes": (["splits", "train", "bytes"], lambda n: n + 1, "splits.train.bytes is "),
    "fingerprint": (["fingerprint"], lambda text: text[::-1], 'fingerprint is "'),
    "seed": (["seed"], lambda n: n + 1, 'fingerprint is "'),
    "option": (["options", "balance"], lambda _: "none", 'fingerprint is "'),
    "version": (["versions", "pillow"], lambda _: "1.0", 'fingerprint is "'),
    "malignant": (["malignant_classes"], lambda names: [*names, "freckle"], "malignant_classes has 'freckle', which"),
    "schema": (["image_size"], str, "image_size: '48' is not of type 'integer'"),
    "unknown key": (["image_sise"], lambda _: 48, "the whole: Additional properties are not allowed ('image_sise'"),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_description_is_found_by_its_key(copied: Copy, name: str) -> None:
    keys, edit, says = EDITS[name]
    copied.describe(keys, edit)
    assert first_difference(copied).startswith(f"{DATASET}: {says}")


def test_a_description_that_the_records_or_their_schema_do_not_follow(copied: Copy) -> None:
    examples = copied.entry(TEST)["examples"]
    copied.entry(TEST)["examples"] += 1
    copied.save()
    assert first_difference(copied) == f"{TEST}: has {examples} records, dataset.json says {examples + 1}"
    copied.entry(TEST)["examples"] -= 1
    for keys, edit in ((["image_size"], lambda _: 47), (["classes"], lambda names: names[::-1])):
        before = json.dumps(copied.description)
        copied.describe(keys, edit)
        assert first_difference(copied).startswith("schema.pbtxt: is not that of")
        copied.description = json.loads(before)
    (copied.folder / DATASET).write_text("{")
    assert first_difference(copied).startswith(f"{DATASET}: is no JSON (")


def test_a_row_of_the_manifest_that_the_records_contradict(copied: Copy) -> None:
    rows = copied.manifest()
    number = next(number for number, row in enumerate(rows) if row["split"] == "test")
    row = rows[number]
    where = next(
        f"{TEST}: record {index} (byte {offset:,})"
        for index, (record, (offset, _)) in enumerate(zip(copied.records(TEST), copied.places(TEST), strict=True))
        if image_of(record) == row["sha256"]
    )
    label = next(name for name in copied.description["classes"] if name != row["label"])
    for change, says in (
        ({"split": "validation"}, "lies in test, the manifest says validation"),
        ({"label": label}, f"image/class/text is '{row['label']}', the manifest says '{label}'"),
        ({"group_id": "other"}, f"image/group_id is '{row['group_id']}', the manifest says 'other'"),
        ({"lesion_id": "other"}, "image/lesion_id is "),
        ({"sha256": "0" * 64}, f"no written row of the manifest has its image, {row['sha256']}"),
    ):
        copied.write_manifest([*rows[:number], {**row, **change}, *rows[number + 1 :]])
        assert first_difference(copied).startswith(f"{where}: {says}"), change
        assert first_difference(copied).endswith(f"({row['id']})")
    for change, says in (
        ({"copies": 2}, "2 copies in test"),
        ({"copies": 0}, "0 copies in test"),
        ({"fold": 1}, "in fold 1, but its split is test"),
        ({"split": None}, "written, but its split is none"),
        ({"sha256": None}, "written, but its sha256 is ''"),
        ({"reason": "undecodable"}, "written, but with the reason undecodable"),
        ({"outcome": "lost"}, "its outcome is 'lost'"),
        ({"outcome": "rejected"}, "outcome rejected, but in split test with 1 copies"),
        (
            {"outcome": "rejected", "split": None, "copies": 0},
            "outcome rejected without a reason",
        ),
    ):
        copied.write_manifest([*rows[:number], {**row, **change}, *rows[number + 1 :]])
        assert first_difference(copied) == f"manifest-00000-of-00001.parquet: row {number} ({row['id']}): {says}"
    copied.write_manifest([*rows, row])
    assert first_difference(copied).endswith(f": its image is written already, as {row['id']}")
    copied.write_manifest(rows[:number] + rows[number + 1 :])
    assert first_difference(copied).startswith(f"{where}: no written row of the manifest has its image")
    # A row more, of an image that no record holds.
    copied.write_manifest([*rows, {**row, "id": "ISIC_more", "sha256": "0" * 64}])
    assert first_difference(copied) == "no record holds copy 0 of ISIC_more, of which the manifest has 1 in test"


def test_more_or_fewer_copies_than_the_manifest_has(copied: Copy) -> None:
    rows = copied.manifest()
    number = next(number for number, row in enumerate(rows) if row["copies"] == 3)
    row = rows[number]
    copied.write_manifest([*rows[:number], {**row, "copies": 4}, *rows[number + 1 :]])
    assert first_difference(copied) == (f"no record holds copy 3 of {row['id']}, of which the manifest has 4 in train")
    copied.write_manifest([*rows[:number], {**row, "copies": 2}, *rows[number + 1 :]])
    assert "image/augmentation/copy is 2, the manifest has 2 copies of the image" in first_difference(copied)


def test_a_damaged_manifest_is_named(copied: Copy) -> None:
    path = copied.folder / "manifest-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    assert first_difference(copied).startswith(f"{path.name}: is damaged: ")
    pq.write_table(pa.table({"id": ["a"]}), path)
    assert first_difference(copied) == f"{path.name}: its columns are not those of a manifest"


def test_rejects_that_are_not_the_manifests(copied: Copy) -> None:
    path = copied.folder / "rejects-00000-of-00001.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    first = json.loads(lines[0])
    path.write_text("".join(lines[1:]))
    assert first_difference(copied) == (
        f"no rejects file names {first['path']}, which the manifest drops as {first['reason']}"
    )
    path.write_text("".join([*lines, json.dumps({**first, "path": "more.jpg"}) + "\n"]))
    assert first_difference(copied) == (
        f"{path.name}: line {len(lines) + 1}: more.jpg is not dropped as {first['reason']} in the manifest"
    )
    path.write_text("".join([json.dumps({**first, "reason": "too_large"}) + "\n", *lines[1:]]))
    assert first_difference(copied).startswith(f"{path.name}: line 1: {first['path']} is not dropped as too_large")
    path.write_text("nothing\n")
    assert first_difference(copied) == f"{path.name}: line 1: is no JSON with path and reason"


def test_what_an_update_takes_over_has_to_agree_with_shards_and_manifest(copied: Copy) -> None:
    path = copied.folder / "known-00000-of-00003.parquet"
    whole = path.read_bytes()
    rows = pq.read_table(path).to_pylist()
    for change, says in (
        (
            {"offsets": [rows[0]["offsets"][0] + 1]},
            f"the records of image {rows[0]['sha256']} do not lie in {TEST} where",
        ),
        ({"shard": TRAIN[0]}, f"the records of image {rows[0]['sha256']} do not lie in {TEST} where it says"),
        ({"sha256": "0" * 64}, f"the records of image {'0' * 64} do not lie in {TEST} where it says"),
        ({"width": 1}, f"says something else of image {rows[0]['sha256']} than the manifest"),
    ):
        pq.write_table(pa.Table.from_pylist([{**rows[0], **change}, *rows[1:]], pq.read_schema(path)), path)
        assert first_difference(copied).startswith(f"{path.name}: {says}"), change
    path.write_bytes(whole[:-9])
    assert first_difference(copied).startswith(f"{path.name}: cannot be read: ")
    path.unlink()
    assert first_difference(copied).startswith(f"{path.name}: cannot be read: ")


def test_past_images_have_a_split_and_are_not_written(copied: Copy) -> None:
    written = next(row for row in copied.manifest() if row["outcome"] == "written")
    path = copied.folder / "past-00000-of-00001.parquet"
    for change, says in (
        ({"sha256": "0" * 64, "split": "holdout"}, "its split is holdout"),
        ({"sha256": "0" * 64, "split": None}, "its split is none"),
        ({}, "is written too"),
    ):
        row = {name: {**written, **change}[name] for name in PAST_SCHEMA.names}
        path.write_bytes(parquet_bytes([row], PAST_SCHEMA))
        assert first_difference(copied) == f"{path.name}: row 0 ({written['id']}): {says}"
    pq.write_table(pa.table({"id": ["a"]}), path)
    assert first_difference(copied) == f"{path.name}: its columns are not those of past images"


def test_metadata_for_tfds_and_the_card_are_those_of_the_dataset(copied: Copy) -> None:
    for name, says in (
        ("dataset_info.json", "is not what dataset.json gives"),
        ("features.json", "is not what dataset.json gives"),
        ("report.html", "is not the card of this dataset"),
        ("report.md", "is not the card of this dataset"),
    ):
        content = (copied.folder / name).read_bytes()
        (copied.folder / name).write_bytes(content.replace(b"48", b"49").replace(copied.fingerprint, b"0" * 64))
        assert first_difference(copied).startswith(f"{name}: {says}")
        (copied.folder / name).unlink()
        assert first_difference(copied) == f"{name} is missing"
        (copied.folder / name).write_bytes(content)


def test_graphs_have_to_load_and_to_make_what_prepare_makes(copied: Copy, tmp_path: Path) -> None:
    import tensorflow as tf

    from pipelines.imaging.standardize_graph import StandardizeModule
    from pipelines.prepare.tft_analysis import write_transform_fn
    from pipelines.prepare.train_statistics import ClassStatistics

    images = [image for path in copied.folder.glob("known-*") for image in read_cache(str(path))]
    of_train = [image.stored.sums for _, image in images if image.stored.file.startswith("train")]
    statistics = Statistics(len(of_train), [sum(column) for column in zip(*of_train, strict=True)])
    graphs = {name: copied.folder / name for name in ("standardize_fn", "transform_fn")}

    def wrong() -> str:
        with pytest.raises(CheckFailed) as found:
            check_graphs(open_dataset(str(copied.folder), "DATASET"), statistics)
        return str(found.value)

    for name, folder in graphs.items():
        content = (folder / "saved_model.pb").read_bytes()
        (folder / "saved_model.pb").write_bytes(content[: len(content) // 2])
        assert wrong().startswith(f"{name}: cannot be used: ")
        (folder / "saved_model.pb").write_bytes(content)
    whole = shutil.copytree(graphs["standardize_fn"], tmp_path / "standardize_fn")
    tf.saved_model.save(StandardizeModule(SIZE, "pad"), str(graphs["standardize_fn"]))
    says = "standardize_fn: makes other pixels of an image than prepare does"
    assert wrong() == first_difference(copied) == says
    shutil.copytree(whole, graphs["standardize_fn"], dirs_exist_ok=True)
    check_graphs(open_dataset(str(copied.folder), "DATASET"), statistics)
    counts = graphs["transform_fn"] / "assets" / "class_counts"
    content = counts.read_bytes()
    counts.write_bytes(content.replace(b"nevus", b"naevus"))
    assert wrong().startswith("transform_fn/assets/class_counts: is not what dataset.json says")
    counts.write_bytes(content)
    # Of other statistics, as if it were another dataset's.
    description = copied.description
    per_class = description["splits"]["train"]["per_class"]
    other = {
        name: ClassStatistics(entry["originals"], (10**6,) * 3 + (10**9,) * 3) for name, entry in per_class.items()
    }
    shutil.rmtree(graphs["transform_fn"])
    write_transform_fn(other, str(tmp_path / "other"), RecordSpec(tuple(description["classes"]), SIZE))
    shutil.copytree(tmp_path / "other" / "transform_fn", graphs["transform_fn"])
    assert wrong().startswith("transform_fn: does not normalise by the mean and deviation of")


def several(copied: Copy, key: str) -> tuple[bytes, str, dict[str, list[Any]]]:
    """(Value, the records that have it) of a group or lesion of several train images; and all other records."""
    shards = {name: list(copied.records(name)) for name in TRAIN}
    by_value: dict[bytes, set[str]] = {}
    for records in shards.values():
        for record in records:
            value = record.features.feature[key].bytes_list.value[0]
            by_value.setdefault(value, set()).add(image_of(record))
    value = min(value for value, images in by_value.items() if value and len(images) > 1)
    return value, min(by_value[value]), shards


def move(copied: Copy, digest: str, source: str, target: str, fold: int) -> None:
    """Take all records of an image from a shard to another, as if they had been written there."""
    taken = [record for record in copied.records(source) if image_of(record) == digest]
    copied.write(source, [record for record in copied.records(source) if image_of(record) != digest])
    for record in taken:
        record.features.feature["image/fold"].int64_list.value[0] = fold
    copied.write(target, [*copied.records(target), *taken])


@pytest.mark.parametrize("to", ["test", "other fold"])
def test_an_image_moved_away_from_its_group_is_a_leak(copied: Copy, to: str) -> None:
    group, digest, shards = several(copied, "image/group_id")
    source = next(name for name, records in shards.items() if digest in map(image_of, records))
    target, fold = (TEST, -1) if to == "test" else (TRAIN[source == TRAIN[0]], int(source == TRAIN[0]))
    move(copied, digest, source, target, fold)
    found = first_difference(copied)
    name, record = found.split(": record ")[:2]
    parts = {TEST: "test", TRAIN[0]: "train, fold 0", TRAIN[1]: "train, fold 1"}
    # Seen in the later of the two shards, by name.
    first = min(source, target)
    assert name == max(source, target)
    assert f": group '{group.decode()}' is in {parts[name]} and in {parts[first]} ({first}: record " in found
    number, other = int(record.split(" ")[0]), int(found.split(f"({first}: record ")[1].split(")")[0])
    for shard, index in ((name, number), (first, other)):
        assert list(copied.records(shard))[index].features.feature["image/group_id"].bytes_list.value[0] == group


def test_an_image_or_a_lesion_in_two_splits_is_a_leak(copied: Copy) -> None:
    _, digest, shards = several(copied, "image/lesion_id")
    source, record = next(
        (name, record) for name, records in shards.items() for record in records if image_of(record) == digest
    )
    record.features.feature["image/fold"].int64_list.value[0] = -1
    tests = list(copied.records(TEST))
    copied.write(TEST, [*tests, record])
    assert f": its image is in train, fold {TRAIN.index(source)} and in test ({TEST}: record {len(tests)}) (" in (
        first_difference(copied)
    )
    # Under the names of another image and group, the lesion gives it away.
    set_text(record, "image/key/sha256", "0" * 64)
    set_text(record, "image/group_id", "another")
    copied.write(TEST, [*tests, record])
    lesion = record.features.feature["image/lesion_id"].bytes_list.value[0].decode()
    assert f": lesion '{lesion}' is in train, fold " in first_difference(copied)


def test_an_image_moved_alone_is_found_by_its_row(copied: Copy) -> None:
    """With its whole group: no leak, but not what the manifest says."""
    rows = copied.manifest()
    groups = Counter(row["group_id"] for row in rows if row["outcome"] == "written")
    row = next(row for row in rows if row["split"] == "train" and groups[row["group_id"]] == 1 and not row["lesion_id"])
    move(copied, row["sha256"], TRAIN[row["fold"]], TEST, -1)
    assert f"lies in test, the manifest says train ({row['id']})" in first_difference(copied)


def drop_key(record: tf.train.Example) -> None:
    del record.features.feature["image/fold"]


def other_type(record: tf.train.Example) -> None:
    record.features.feature["image/class/label"].bytes_list.value.append(b"3")


def two_values(record: tf.train.Example) -> None:
    record.features.feature["image/height"].int64_list.value.append(SIZE)


def more_keys(record: tf.train.Example) -> None:
    set_text(record, "image/mask", "?")


def other_label(record: tf.train.Example) -> None:
    value = record.features.feature["image/class/label"].int64_list.value
    value[0] = (value[0] + 1) % 9


def no_image(record: tf.train.Example) -> None:
    record.features.feature["image/encoded"].bytes_list.value[0] = b"not an image"


def half_an_image(record: tf.train.Example) -> None:
    value = record.features.feature["image/encoded"].bytes_list.value
    value[0] = value[0][: len(value[0]) // 2]


def small_image(record: tf.train.Example) -> None:
    import numpy as np

    record.features.feature["image/encoded"].bytes_list.value[0] = encode_jpeg(np.zeros((SIZE, SIZE - 1, 3), np.uint8))


def other_size(record: tf.train.Example) -> None:
    record.features.feature["image/width"].int64_list.value[0] = SIZE - 1


def other_format(record: tf.train.Example) -> None:
    set_text(record, "image/format", "png")


def no_digest(record: tf.train.Example) -> None:
    set_text(record, "image/key/sha256", "xyz")


RECORDS: dict[Callable[[tf.train.Example], None], str] = {
    drop_key: "has no image/fold",
    other_type: "image/class/label holds bytes, not int64",
    two_values: "image/height holds 2 values, not one",
    more_keys: "has a key 'image/mask' that schema.pbtxt does not name",
    other_label: "image/class/label is ",
    no_image: "the image does not decode: not_an_image: ",
    half_an_image: "the image does not decode: undecodable: ",
    small_image: f"the image is {SIZE} x {SIZE - 1}, dataset.json says {SIZE} x {SIZE}",
    other_size: f"image/width is {SIZE - 1}, dataset.json says {SIZE}",
    other_format: "image/format is 'png', dataset.json says 'jpeg'",
    no_digest: "image/key/sha256 is 'xyz'",
}


@pytest.mark.parametrize("edit", RECORDS, ids=lambda edit: edit.__name__)
def test_a_record_that_is_whole_but_wrong_is_named_with_what_is_wrong(
    copied: Copy, edit: Callable[[tf.train.Example], None]
) -> None:
    records = list(copied.records(TEST))
    edit(records[5])
    copied.write(TEST, records)
    offset, _ = copied.places(TEST)[5]
    assert first_difference(copied).startswith(f"{TEST}: record 5 (byte {offset:,}): {RECORDS[edit]}")


def test_a_record_that_is_no_example_or_stands_twice(copied: Copy) -> None:
    records = list(copied.records(TEST))
    copied.write(TEST, [*records[:-1], records[0]])
    assert ": copy 0 of the image is in the dataset twice (" in first_difference(copied)
    copied.write(TEST, [b"\xff\xff", *records[1:]])
    assert first_difference(copied) == f"{TEST}: record 0 (byte 0): is no tf.train.Example"


def test_what_is_not_finished_says_so(command: Command, copied: Copy) -> None:
    claim = copied.folder / ".unfinished" / "claim.json"
    claim.parent.mkdir()
    claim.write_text("{}")
    assert first_difference(copied).startswith("unfinished: ")
    (copied.folder / DATASET).unlink()
    done = command("pipelines.verify", copied.folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"pipelines.verify: error: DATASET {copied.folder}: unfinished; the prepare command that began it, given "
        "again, finishes it\n"
    )


def test_a_dataset_that_is_replaced_while_it_is_read_is_not_called_damaged(copied: Copy) -> None:
    # When the number of processes is chosen it is open, and no shard is read.
    with stopped("pipelines.verify", "sched_getaffinity", "0", copied.folder) as process:
        document = json.loads((copied.folder / DATASET).read_text())
        (copied.folder / DATASET).write_text(json.dumps({**document, "fingerprint": "0" * 64}))
        (copied.folder / TEST).unlink()
        code, said = go_on(process)
    (error,) = besides_progress(said)
    assert code == 2
    assert error == (
        f"pipelines.verify: error: DATASET {copied.folder}: was replaced while it was read; give the same command again"
    )


BAD = {
    "nothing there": (["{tmp}/none"], "DATASET {tmp}/none: no such folder, or nothing in it"),
    "no dataset": (["{tmp}/other"], "DATASET {tmp}/other: no dataset (no dataset.json)"),
    "a file": (["{tmp}/other/notes.txt"], "DATASET {tmp}/other/notes.txt: no such folder"),
    "other not there": (["{dataset}", "--against", "{tmp}/none"], "--against {tmp}/none: no such folder"),
    "no dataset given": ([], "DATASET"),
    "workers": (["{dataset}", "--workers", "-1"], "--workers -1: 0 or more is needed"),
    "output alone": (["{dataset}", "--output", "{tmp}/x.json"], "--output {tmp}/x.json: is for the differences"),
    "output there": (
        ["{dataset}", "--against", "{dataset}", "--output", "{tmp}/other/notes.txt"],
        "--output {tmp}/other/notes.txt: is there already; add --overwrite",
    ),
    "output below a file": (
        ["{dataset}", "--against", "{dataset}", "--output", "{tmp}/other/notes.txt/x.json"],
        "--output {tmp}/other/notes.txt/x.json: cannot be written: ",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_use_is_told_in_one_line(dataset: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    places = {"tmp": tmp_path, "dataset": dataset}
    with pytest.raises(UsageError) as found:
        verify_command.main([text.format(**places) for text in BAD[name][0]])
    assert BAD[name][1].format(**places) in str(found.value)
    assert "\n" not in str(found.value)
    assert [path.name for path in tmp_path.rglob("*")] == ["other", "notes.txt"]
    assert (tmp_path / "other" / "notes.txt").read_text() == "mine"


def test_help_tells_the_contract(command: Command) -> None:
    done = command("pipelines.verify", "--help")
    assert done.returncode == 0
    for word in ("--against", "--output", "examples:", "exit codes:", "known by its SHA-256"):
        assert word in done.stdout


def test_against_itself_elsewhere_the_records_are_the_same(
    dataset: Path, copied: Copy, capsys: pytest.CaptureFixture[str]
) -> None:
    verify_command.main([str(copied.folder), "--against", str(dataset)])
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"{copied.folder}, against {dataset} (before → after)"
    assert shown[1].endswith(" unchanged")
    assert shown[2:] == ["the same records: 3 shards with the same SHA-256"]
    # Its manifest and settings are the same, its records are not.
    copied.write(TEST, list(copied.records(TEST))[::-1])
    verify_command.main([str(copied.folder), "--against", str(dataset)])
    assert capsys.readouterr().out.splitlines()[-1].startswith("2 of 3 shards are the same, byte for byte; ")


@pytest.mark.parametrize(
    ("change", "says"),
    [({"outcome": "lost"}, "its outcome is 'lost'"), ({"sha256": "A" * 64}, f"its sha256 is '{'A' * 64}'")],
)
def test_a_comparison_names_the_row_that_cannot_be_right(
    dataset: Path, copied: Copy, change: dict[str, str], says: str
) -> None:
    rows = copied.manifest()
    rows[3].update(change)
    copied.write_manifest(rows)
    with pytest.raises(CheckFailed) as caught:
        verify_command.main([str(dataset), "--against", str(copied.folder)])
    assert str(caught.value) == f"manifest-00000-of-00001.parquet: row 3 ({rows[3]['id']}): {says}"


def test_a_dataset_of_another_version_is_refused_by_name(copied: Copy) -> None:
    copied.describe(["schema_version"], lambda _: 3)
    with pytest.raises(UsageError) as caught:
        verify_command.main([str(copied.folder)])
    assert str(caught.value) == (
        f"DATASET {copied.folder}: dataset.json has schema version 3, this program reads 2; "
        "prepare it again with this version"
    )


def test_against_another_dataset_every_difference_is_told(
    command: Command, sample: Path, dataset: Path, tmp_path: Path
) -> None:
    """Images taken out, put in, and filed elsewhere; one class fewer; another seed."""
    images = tmp_path / "images"
    shutil.copytree(sample / "images", images)
    written = [row for row in Copy(dataset).manifest() if row["outcome"] == "written"]
    nevi = [row for row in written if row["label"] == "nevus"]
    removed, relabelled = (Path(row["path"]).relative_to(sample / "images") for row in nevi[:2])
    (images / removed).unlink()
    (images / relabelled).rename(images / "melanoma" / relabelled.name)
    (images / "nevus" / "ISIC_0000000.jpg").write_bytes(jpeg_of_noise())
    classes = [name for name in Copy(dataset).description["classes"] if name != "vascular lesion"]
    given = ("--classes", ",".join(classes), "--seed", 3, "--folds", 2)
    other = prepare(command, images, sample / "metadata.csv", tmp_path / "other", *given)
    output = tmp_path / "changes.json"
    done = command("pipelines.verify", other, "--against", dataset, "--output", output)
    assert (done.returncode, besides_progress(done.stderr)) == (0, [])
    told = json.loads(output.read_text())
    assert told["same_records"] is False
    assert {entry["key"]: (entry["from"], entry["to"]) for entry in told["settings"]} == {
        "classes": (Copy(dataset).description["classes"], classes),
        "seed": (0, 3),
    }
    found = told["images"]
    assert [entry["id"] for entry in found["added"]] == ["ISIC_0000000"]
    assert [entry["sha256"] for entry in found["removed"]] == [nevi[0]["sha256"]]
    assert [(entry["sha256"], entry["from"], entry["to"]) for entry in found["label"]] == [
        (nevi[1]["sha256"], {"label": "nevus"}, {"label": "melanoma"})
    ]
    before = {row["sha256"]: row for row in written}
    after = {row["sha256"]: row for row in Copy(other).manifest() if row["outcome"] == "written"}
    assert {entry["sha256"] for entry in found["outcome"]} == {
        row["sha256"] for row in written if row["label"] == "vascular lesion"
    }
    assert found["outcome"][0]["to"] == {"outcome": "rejected", "reason": "unmapped_label"}
    both = before.keys() & after.keys()
    for kind in ("split", "copies"):
        assert {entry["sha256"]: (entry["from"][kind], entry["to"][kind]) for entry in found[kind]} == {
            digest: (before[digest][kind], after[digest][kind])
            for digest in both
            if before[digest][kind] != after[digest][kind]
        }
        assert found[kind]
    assert {entry["sha256"] for entry in found["fold"]} == {
        digest
        for digest in both
        if before[digest]["split"] == after[digest]["split"] and before[digest]["fold"] != after[digest]["fold"]
    }
    lines = done.stdout.splitlines()
    assert "seed: 0 → 3" in lines
    assert lines[lines.index("added: 1") + 1] == f"  ISIC_0000000: written, nevus, {found['added'][0]['split']}"
    assert lines[lines.index("relabelled: 1") + 1] == f"  {nevi[1]['id']}: nevus → melanoma"
    start = lines.index(f"in another split: {len(found['split'])}") + 1
    assert lines[start] == "  {id}: {from[split]} → {to[split]}".format(**found["split"][0])
    start = lines.index(f"in another fold: {len(found['fold'])}") + 1
    assert lines[start + 20] == f"  and {len(found['fold']) - 20} more"
    assert lines[-1].startswith("0 of ")
    again = command("pipelines.verify", other, "--against", dataset, "--output", output)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr


def jpeg_of_noise() -> bytes:
    import numpy as np

    return encode_jpeg(np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8))


def test_the_manifest_of_the_tests_is_the_manifest(dataset: Path, copied: Copy) -> None:
    """What the tests above write back unchanged is the same to verify."""
    copied.write_manifest(copied.manifest())
    for name in (*TRAIN, TEST):
        copied.write(name, list(copied.records(name)))
        assert (copied.folder / name).read_bytes() == (dataset / name).read_bytes()
    assert pq.read_schema(copied.folder / "manifest-00000-of-00001.parquet").equals(MANIFEST_SCHEMA)
    verify_command.main([str(copied.folder)])


def test_verifying_a_local_dataset_needs_no_beam(dataset: Path) -> None:
    found = started("pipelines.verify", [[dataset, "--workers", 1], [dataset, "--against", dataset]])
    assert found.codes == [0, 0], found.stderr
    assert not {"apache_beam", "tensorflow"} & set(found.imported)
