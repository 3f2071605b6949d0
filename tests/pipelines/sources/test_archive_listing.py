"""Archives in a bucket and in its folders: every image is listed and read, with few requests."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.sources.list_files import list_files
from pipelines.storage import archives
from tests.support.gcs import Environment, local_gcs, upload
from tests.support.image_files import encode

BUCKET = "packed"
CONTENTS = {f"ISIC_{number:07d}.png": encode(np.full((4, 4, 3), number, np.uint8), "PNG") for number in range(120)}
# Images that are read together; so many of them are one chunk of a job.
CHUNK = 60
NAMES = ("images.tar.gz", "images.hdf5", "pieces.hdf5", "images.parquet")


def write_archives(folder: Path) -> None:
    with tarfile.open(folder / "images.tar.gz", "w:gz") as archive:
        for name, content in CONTENTS.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    with h5py.File(folder / "images.hdf5", "w") as file, h5py.File(folder / "pieces.hdf5", "w") as pieces:
        for name, content in CONTENTS.items():
            file[name] = np.void(content)
            pieces.create_dataset(name, data=np.frombuffer(content, np.uint8), chunks=(16,))
    rows = [{"image": {"bytes": content, "path": name}, "dx": "mel"} for name, content in CONTENTS.items()]
    pq.write_table(pa.Table.from_pylist(rows), folder / "images.parquet", row_group_size=50)
    with h5py.File(folder / "weights.hdf5", "w") as file:
        file["kernel"] = np.arange(200, dtype=np.uint8)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """A bucket with the same images in archives of every kind, in one folder."""
    folder = tmp_path_factory.mktemp("archives")
    write_archives(folder)
    with local_gcs(tmp_path_factory.mktemp("gcs"), BUCKET) as environment, pytest.MonkeyPatch.context() as patch:
        upload(environment, BUCKET, folder, "in")
        for name, value in environment.items():
            patch.setenv(name, value)
        yield environment


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_in_a_bucket_is_listed_and_read_with_few_requests(bucket: Environment, name: str) -> None:
    path = f"gs://{BUCKET}/in/{name}"
    bucket.requests.clear()
    members = list(archives.list_members(path))
    assert len(members) == len(CONTENTS)
    assert len(bucket.requests) <= 15
    for start in range(0, len(members), CHUNK):
        bucket.requests.clear()
        chunk = members[start : start + CHUNK]
        assert [content for _, content in archives.read_members(path, chunk)] == [
            CONTENTS[member.name.rpartition("-")[2]] for member in chunk
        ]
        assert len(bucket.requests) <= 15


def test_archives_in_a_folder_of_a_bucket_are_opened_and_weights_are_no_images(bucket: Environment) -> None:
    bucket.requests.clear()
    files = list(list_files(f"gs://{BUCKET}/in"))
    images = [file for file in files if file.is_image]
    assert len(images) == len(NAMES) * len(CONTENTS)
    assert {file.relative.partition("/")[0] for file in images} == {"images", "pieces"}
    assert [file.relative for file in files if not file.is_image] == ["weights.hdf5"]
    assert len(bucket.requests) <= 25 * (len(NAMES) + 1)
