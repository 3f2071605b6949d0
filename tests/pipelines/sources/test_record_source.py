"""A prepared dataset as an input: its originals, each once, with the bytes that prepare stored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.common.cli import UsageError
from pipelines.dataset.description_reader import require_description
from pipelines.dataset.image_row import ImageRow
from pipelines.dataset.reader import read_manifest
from pipelines.dataset.record_spec import RecordSpec
from pipelines.dataset.records import read_shard
from pipelines.dataset.tfrecord import frame
from pipelines.domain.image_ids import image_id_of
from pipelines.prepare.examples import image_example
from pipelines.sources import list_images
from pipelines.sources.read_ahead import read_files
from pipelines.sources.record_source import RecordFormat, is_record_source, list_records, record_format
from pipelines.sources.source_file import SourceFile
from tests.support.collecting import run_source
from tests.support.commands import Command
from tests.support.gcs import local_gcs, upload
from tests.support.inputs import require_images

SIZE = 32


@pytest.fixture(scope="module")
def dataset(command: Command, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What prepare makes of the sample: copies, several shards of a split."""
    folder = tmp_path_factory.mktemp("prepared") / "dataset"
    done = command(
        *("pipelines.prepare", "--input", sample / "images", "--metadata", sample / "metadata.csv"),
        *("--output", folder, "--image_size", SIZE, "--folds", 2),
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copied(dataset: Path, tmp_path: Path) -> Path:
    return shutil.copytree(dataset, tmp_path / "copied")


def images_of(*roots: object) -> list[SourceFile]:
    chunks = run_source(list_images.ListImages([str(root) for root in roots], records=True))
    return [listed.file for chunk in chunks for listed in list_images.images_of(chunk)]


def stored(folder: Path) -> dict[str, bytes]:
    """Image id -> `image/encoded` of its original, by the reader that show uses."""
    shards = sorted(path.name for path in folder.glob("*.tfrecord"))
    found = [image for shard in shards for image in read_shard(str(folder), shard)]
    assert any(image.copy for image in found)
    return {f"{folder}/{image.shard}!/{image.image_id}": image.encoded for image in found if image.copy == 0}


def shard_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.tfrecord"))


def test_every_original_once_with_its_bytes(dataset: Path) -> None:
    files = images_of(dataset)
    written = [row["id"] for row in read_manifest(str(dataset)) if row["outcome"] == "written"]
    assert sorted(image_id_of(file.relative) for file in files) == sorted(written)
    contents = {file.path: content for file, content in read_files(files)}
    assert contents == stored(dataset)
    for file in files:
        assert file.is_record
        content = contents[file.path]
        assert isinstance(content, bytes)
        assert file.size == len(content)
    assert len({file.version for file in files}) == len(files)


def test_single_shards_and_patterns_give_their_records_once(dataset: Path) -> None:
    everything = {file.path for file in images_of(dataset)}
    name = shard_names(dataset)[0]
    (one,) = {file.relative.partition("/")[0] for file in images_of(dataset / name)}
    assert one == name
    assert {file.path for file in images_of(dataset / "*.tfrecord")} == everything
    assert len(images_of(dataset, dataset / name, f"{dataset}/./train-*.tfrecord")) == len(everything)


def test_the_format_of_records_is_that_of_their_dataset(dataset: Path) -> None:
    description = require_description("--input", str(dataset))
    expected = RecordFormat(SIZE, "jpeg", description.aspect, description.fingerprint)
    for root in (dataset, dataset / "train-*.tfrecord", dataset / shard_names(dataset)[-1]):
        assert is_record_source(str(root))
        assert record_format("--input", str(root)) == expected
        require_images("--input", str(root), records=True)
    assert not is_record_source(str(dataset.parent))
    assert not is_record_source(str(dataset / "manifest-*.parquet"))


def test_prepare_takes_no_records(dataset: Path) -> None:
    for root in (dataset, dataset / shard_names(dataset)[0]):
        with pytest.raises(UsageError, match="holds no image"):
            require_images("--input", str(root))
        chunks = run_source(list_images.ListImages([str(root)]))
        assert [listed for chunk in chunks for listed in list_images.images_of(chunk)] == []


def test_an_id_that_two_sources_have(tmp_path: Path) -> None:
    rows = [ImageRow(path="", relative="", image_id="1", sha256=letter * 64, label="nevus") for letter in "abc"]
    rows[2] = rows[2]._replace(image_id="2")
    spec = RecordSpec(("nevus",), SIZE)
    examples = [image_example(row, row.sha256[:9].encode(), copy, spec) for row in rows for copy in (0, 1)]
    shard = tmp_path / "train-00000-of-00001.tfrecord"
    shard.write_bytes(b"".join(map(frame, examples)))
    files = list(list_records(str(shard)))
    assert [file.relative for file in files] == [
        f"{shard.name}/{name}" for name in (f"{'a' * 16}/1", f"{'b' * 16}/1", "2")
    ]
    assert [image_id_of(file.relative) for file in files] == ["1", "1", "2"]
    assert [content for _, content in read_files(files)] == [letter * 9 for letter in (b"a", b"b", b"c")]


def edit(folder: Path, **values: str) -> None:
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def without_description(folder: Path) -> Any:
    (folder / "dataset.json").unlink()
    return folder / "*.tfrecord"


def of_gzip(folder: Path) -> Any:
    edit(folder, compression="gzip")
    return folder


def named_gzip(folder: Path) -> Any:
    shard = folder / shard_names(folder)[0]
    return shard.rename(f"{shard}.gz")


def cut(folder: Path) -> Any:
    shard = folder / shard_names(folder)[0]
    shard.write_bytes(shard.read_bytes()[:-1])
    return folder


def without_shard(folder: Path) -> Any:
    (folder / shard_names(folder)[0]).unlink()
    return folder


def with_a_stranger(folder: Path) -> Any:
    shutil.copy(folder / shard_names(folder)[0], folder / "train-00099-of-00100.tfrecord")
    return folder / "*.tfrecord"


def two_datasets(folder: Path) -> Any:
    shutil.copytree(folder, folder.parent / "second")
    return folder.parent / "*" / "*.tfrecord"


def broken_description(folder: Path) -> Any:
    edit(folder, image_size="large")
    return folder


def nothing(folder: Path) -> Any:
    return folder / "none-*.tfrecord"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without_description, "no dataset.json beside it"),
        (of_gzip, "gzip shards cannot be read at one record; prepare the dataset with --compression none"),
        (named_gzip, "gzip shards cannot be read"),
        (cut, r"has .* bytes, .* in dataset.json; see python -m pipelines.verify"),
        (without_shard, "has 0 bytes"),
        (with_a_stranger, "train-00099-of-00100.tfrecord is no shard of the dataset"),
        (two_datasets, r"shards of several datasets .* an --input of its own"),
        (broken_description, r"dataset\.json cannot be read: image_size: 'large' is not of type 'integer'"),
        (nothing, "matches no shard"),
    ],
)
def test_what_cannot_be_read_at_its_records_is_refused(copied: Path, change: Callable[..., Any], says: str) -> None:
    root = str(change(copied))
    with pytest.raises(UsageError, match=says) as caught:
        require_images("--input", root, records=True)
    assert str(caught.value).startswith(f"--input {root}: ")
    assert "\n" not in str(caught.value)


def test_a_damaged_record_costs_nothing_but_itself(copied: Path) -> None:
    shard = copied / shard_names(copied)[0]
    whole = list(list_records(str(shard)))
    data = bytearray(shard.read_bytes())
    assert whole[1].record is not None
    data[whole[1].record.offset + 40] ^= 1
    shard.write_bytes(data)
    files = list(list_records(str(shard)))
    assert len(files) == len(whole)
    (damaged,) = {file.path for file in files} - {file.path for file in whole}
    contents = {file.path: content for file, content in read_files(files)}
    error = contents.pop(damaged)
    assert not isinstance(error, bytes)
    assert error.reason == "damaged record: data CRC differs"
    assert contents == {file.path: content for file, content in read_files(whole) if file != whole[1]}


def test_a_shard_whose_records_cannot_be_told_apart_fails(copied: Path) -> None:
    shard = copied / shard_names(copied)[0]
    record = list(list_records(str(shard)))[1].record
    assert record is not None
    offset = record.offset
    data = bytearray(shard.read_bytes())
    data[offset] ^= 1
    shard.write_bytes(data)
    with pytest.raises(
        OSError, match=rf"{shard.name}: record .*, at byte {offset}, cannot be read: length CRC differs"
    ):
        list(list_records(str(shard)))


def test_a_shard_replaced_after_it_was_listed(copied: Path) -> None:
    first, second = (copied / name for name in shard_names(copied)[:2])
    files = list(list_records(str(first)))
    shutil.copy(second, first)
    contents = [content for _, content in read_files(files)]
    assert contents
    assert all(isinstance(content, OSError) for content in contents)


def test_a_dataset_in_a_bucket_is_read_like_one_on_disk(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with local_gcs(tmp_path, "records") as environment:
        upload(environment, "records", dataset, "dataset")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        root = "gs://records/dataset"
        require_images("--input", root, records=True)
        contents = {file.path: content for file, content in read_files(images_of(root))}
        assert contents == {path.replace(str(dataset), root): content for path, content in stored(dataset).items()}
        for nothing in ("gs://no-such-bucket/dataset", "gs://records/none"):
            with pytest.raises(UsageError, match=r"cannot be listed|holds no image"):
                require_images("--input", nothing, records=True)
        first = shard_names(dataset)[0]
        assert {file.path for file in images_of(f"{root}/{first[:-10]}?{first[-9:]}")} < contents.keys()
