"""Listed files -> full batches for the models: nothing lost, bad files apart, never much held."""

from __future__ import annotations

import hashlib
import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.dataset.tfrecord import RecordPlace
from pipelines.imaging import images
from pipelines.score.batches import ReadBatches, beam, look_at
from pipelines.score.model_input import ModelInput, forms_of, standardize
from pipelines.score.score_row import ScoreRow
from pipelines.score.scored_keys import scored_key
from pipelines.sources import read_ahead
from pipelines.sources.list_files import list_files
from pipelines.sources.list_images import ListedFile
from pipelines.sources.source_file import SourceFile
from pipelines.storage.errors import StorageError
from tests.support.collecting import run
from tests.support.score_row_maker import scoring_run

RUN = scoring_run(("mel", "nv"))


def picture(width: int = 8, height: int = 6, kind: str = "JPEG", seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def taken(data: bytes) -> ModelInput:
    """What the models of the run get of a file."""
    return standardize(data, images.read_info(data), forms_of(RUN.models))


def write(folder: Path, **files: bytes) -> list[ListedFile]:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / f"{name}.jpg").write_bytes(data)
    return [ListedFile(str(folder), file) for file in list_files(str(folder))]


def numbered(count: int) -> dict[str, bytes]:
    return {f"{number:03d}": picture(seed=number) for number in range(count)}


def worked(
    chunks: list[list[ListedFile]], batch_size: int = 8, threads: int = 2
) -> tuple[list[list[tuple[ScoreRow, ModelInput]]], list[Any]]:
    """Batches and rejected rows that one worker makes of chunks in one bundle, those of its end included."""
    reader = ReadBatches(RUN, threads, batch_size)
    reader.setup()
    reader.start_bundle()
    given = [item for chunk in chunks for item in reader.process(chunk)]
    ended = list(reader.finish_bundle())
    reader.teardown()
    batches = [item for item in given if isinstance(item, list)]
    rejected = [item.value for item in given if not isinstance(item, list)]
    for item in ended:
        if isinstance(item, beam.pvalue.TaggedOutput):
            assert item.tag == "rejects"
            rejected.append(item.value.value)
        else:
            batches.append(item.value)
    return batches, rejected


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_are_full_across_chunks_and_keep_the_order(tmp_path: Path, threads: int) -> None:
    listed = write(tmp_path, **numbered(43))
    chunks = [listed[:5], listed[5:6], listed[6:20], listed[20:]]
    batches, rejected = worked(chunks, 8, threads)
    assert [len(batch) for batch in batches] == [8, 8, 8, 8, 8, 3]
    assert rejected == []
    assert [row.path for batch in batches for row, _ in batch] == [entry.file.path for entry in listed]
    for batch in batches:
        for row, image in batch:
            with open(row.path, "rb") as file:
                assert image == taken(file.read())


def test_in_a_pipeline_nothing_is_lost_and_rejects_are_apart(tmp_path: Path) -> None:
    bad = {f"bad{number}": b"bad" for number in range(9)}
    # The very last ones too, which are found out at the end of a bundle.
    listed = write(tmp_path, **numbered(30), cut=picture()[:-40], empty=b"", **bad)
    chunks = [listed[start : start + 7] for start in range(0, len(listed), 7)]

    class Both(beam.PTransform):
        def expand(self, chunks: Any) -> Any:
            read = chunks | beam.ParDo(ReadBatches(RUN, 2, 4)).with_outputs("rejects", main="batches")
            found = (
                read.batches | "Good" >> beam.FlatMap(_rows),
                read.rejects | "Bad" >> beam.Map(_reason),
            )
            return found | beam.Flatten()

    found = run(chunks, Both())
    assert sorted(path for path, _ in found) == sorted(entry.file.path for entry in listed)
    reasons = {path.rpartition("/")[2]: reason for path, reason in found if reason}
    assert reasons == {
        "cut.jpg": "undecodable",
        "empty.jpg": "empty_file",
        **{f"{name}.jpg": "not_an_image" for name in bad},
    }


def _rows(batch: list[tuple[ScoreRow, ModelInput]]) -> list[tuple[str, str]]:
    return [(row.path, "") for row, _ in batch]


def _reason(row: ScoreRow) -> tuple[str, str]:
    return row.path, row.reason


def test_what_is_known_of_a_file_before_it_is_scored(tmp_path: Path) -> None:
    data = picture(31, 17)
    (file,) = [entry.file for entry in write(tmp_path, ISIC_0000001=data)]
    row, image = look_at(file, data, RUN)
    assert (row.path, row.relative, row.image_id) == (file.path, "ISIC_0000001.jpg", "ISIC_0000001")
    assert (row.size, row.width, row.height, row.version) == (len(data), 31, 17, file.version)
    assert row.sha256 == hashlib.sha256(data).hexdigest()
    assert row.key == scored_key(file, RUN.fingerprint)
    assert (row.outcome, image) == ("", taken(data))
    gone, nothing = look_at(file, StorageError("No such file", "FileNotFoundError"), RUN)
    assert (gone.stage, gone.reason, gone.sha256, nothing) == ("read", "unreadable", "", None)


def test_damaged_files_are_rejected_by_the_check_with_the_reason_that_prepare_gives(tmp_path: Path) -> None:
    whole = {"jpeg": picture(), "png": picture(kind="PNG")}
    for name, data in whole.items():
        (file,) = [entry.file for entry in write(tmp_path / name, damaged=data[:-40])]
        row, image = look_at(file, data[:-40], RUN)
        with pytest.raises(images.BadImage) as error:
            images.standardize(data[:-40], 180, "crop")
        assert (row.stage, row.reason, row.message) == ("check", "undecodable", error.value.message)
        assert (image, row.sha256) == (None, hashlib.sha256(data[:-40]).hexdigest())


def test_a_record_is_given_as_it_was_stored() -> None:
    record = RecordPlace("train.tfrecord", 0, 10, b"1234")
    file = SourceFile("train.tfrecord!/1", "train.tfrecord/1", 5, None, "record:1", record)
    row, image = look_at(file, b"bytes", RUN)
    assert image == ModelInput((b"bytes",))
    assert (row.width, row.height, row.place) == (180, 180, record)


@pytest.mark.parametrize("threads", [1, 2])
def test_few_files_are_held_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """What has been read and not yet been given to the model: counted where a file is read and where a batch leaves."""
    files = 64
    size = read_ahead.SPAN_BYTES // 8
    listed = write(tmp_path, **{f"{number:03d}": picture() + bytes(size) for number in range(files)})
    lock, held, most = threading.Lock(), 0, 0
    read_info = images.read_info

    def counted(content: bytes) -> Any:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return read_info(content)

    monkeypatch.setattr(images, "read_info", counted)
    reader = ReadBatches(RUN, threads, 4)
    reader.setup()
    reader.start_bundle()
    given = 0
    for start in range(0, files, 16):
        for batch in reader.process(listed[start : start + 16]):
            given += len(batch)
            with lock:
                held -= len(batch)
    for batch in reader.finish_bundle():
        given += len(batch.value)
    reader.teardown()
    assert given == files
    # Runs of SPAN_BYTES, seven or eight files: twice as many as there are threads are made or waiting, one is being
    # taken, a batch is being filled.
    assert most <= (2 * threads + 1) * 8 + 4
    assert most >= threads
