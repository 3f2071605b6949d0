"""Read the records of a prepared dataset as inputs: every original image in its shards, from its own position.

A shard is scanned once, to list it. A record with damaged data is listed, so that it is rejected as unreadable. Where
a record's end is unknown, everything after it would be lost, so listing the shard fails.
"""

from __future__ import annotations

import functools
import io
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipelines.common.cli import UsageError, first_line
from pipelines.common.gcs_client import require_service
from pipelines.dataset.description_reader import read_description
from pipelines.dataset.records import parse_record
from pipelines.dataset.tfrecord import RecordPlace, frame_size, masked_crc, next_frame, next_record, open_shard
from pipelines.domain.dataset_json import DATASET_JSON, DatasetDescription
from pipelines.sources.list_files import list_files
from pipelines.sources.source_file import SourceFile, Unit
from pipelines.storage import filesystem
from pipelines.storage.errors import StorageError
from pipelines.storage.file_versions import versions_of
from pipelines.storage.globs import has_wildcard
from pipelines.storage.path_lists import folder_of

_SHARD = ".tfrecord"
_SHARDS = (_SHARD, f"{_SHARD}.gz")


class RecordFormat(NamedTuple):
    """How the records of a dataset were made. A model that takes them must have been trained on the same format."""

    image_size: int  # side in pixels
    encoding: str  # `jpeg`, `png` or `raw`
    aspect: str  # `crop`, `pad` or `stretch`
    fingerprint: str  # of the dataset


class _Dataset(NamedTuple):
    description: DatasetDescription
    shards: list[str]


def is_record_source(root: str) -> bool:
    """Return whether an input is a prepared dataset (a folder with dataset.json), a shard or a pattern of shards."""
    if root.lower().endswith(_SHARDS) and not filesystem.is_folder(root):
        return True
    return not has_wildcard(root) and filesystem.exists(filesystem.join(root, DATASET_JSON))


def _open(place: str, root: str) -> _Dataset:
    """Read the dataset's description and list the shards of an input.

    Args:
        place: How messages refer to the input.
        root: A prepared dataset, a shard or a pattern of shards.

    Raises:
        ValueError: If these are not shards of one finished dataset; the message is one line.
        UsageError: If dataset.json cannot be read.
    """
    is_shards = root.lower().endswith(_SHARDS) and not filesystem.is_folder(root)
    shards = sorted(file.path for file in list_files(root)) if is_shards else []
    if is_shards and not shards:
        raise ValueError("matches no shard" if has_wildcard(root) else "no such file")
    folders = sorted({folder_of(shard) for shard in shards}) or [root]
    if len(folders) > 1:
        raise ValueError(f"shards of several datasets ({folders[0]}, {folders[1]}); give each an --input of its own")
    description = read_description(place, folders[0])
    if description is None:
        raise ValueError(
            f"no {DATASET_JSON} beside it to say how its records were made; give a whole dataset of prepare"
        )
    return _Dataset(description, shards or [filesystem.join(root, shard.name) for shard in description.shards])


def record_format(option: str, root: str) -> RecordFormat:
    """Return the format of an input's records.

    Args:
        option: Command-line option that names `root`; it starts the error message.
        root: A prepared dataset, a shard or a pattern of shards.

    Raises:
        UsageError: If records cannot be read at their positions: the shards are gzipped, dataset.json is missing or
            invalid, the shards belong to two datasets, or a shard is missing or differs in size from dataset.json. The
            message is one line.
    """
    try:
        description, shards = _open(f"{option} {root}", root)
        if description.compression != "none" or any(shard.endswith(".gz") for shard in shards):
            raise ValueError("gzip shards cannot be read at one record; prepare the dataset with --compression none")
        sizes = {shard.name: shard.bytes for shard in description.shards}
        for shard, state in zip(shards, versions_of(shards), strict=True):
            name = posixpath.basename(shard)
            if name not in sizes:
                raise ValueError(f"{name} is no shard of the dataset that it lies in")
            if state.size != sizes[name]:
                raise ValueError(
                    f"{name} has {state.size:,} bytes, {sizes[name]:,} in {DATASET_JSON}; "
                    "see python -m pipelines.verify"
                )
        if not shards:
            raise ValueError("a dataset without records")
    except ValueError as error:
        raise UsageError(f"{option} {root}: {error}") from error
    except StorageError as error:
        raise UsageError(f"{option} {root}: cannot be read: {first_line(error)}") from error
    return RecordFormat(description.image_size, description.encoding, description.aspect, description.fingerprint)


def record_units(root: str) -> Iterator[Unit]:
    """Return the shards of an input, which `record_format` must accept, as units of listing."""
    return (functools.partial(list_records, shard) for shard in _open(root, root).shards)


class _Original(NamedTuple):
    image_id: str
    sha256: str
    size: int
    place: RecordPlace


def _originals(shard: str) -> Iterator[_Original]:
    offset = index = 0
    with open_shard(shard, "none") as opened:
        while True:
            try:
                frame = next_frame(opened.records)
                if frame is None:
                    return
                data, crc = frame
                place = RecordPlace(shard, offset, frame_size(len(data)), crc)
                if masked_crc(data) != crc:
                    yield _Original(f"damaged record {index}", "", 0, place)
                else:
                    record = parse_record(data)
                    if record.copy == 0:
                        yield _Original(record.image_id, record.sha256, len(record.encoded), place)
            except (ValueError, KeyError, IndexError) as error:
                raise OSError(f"{shard}: record {index}, at byte {offset}, cannot be read: {error}") from error
            offset += place.size
            index += 1


def list_records(shard: str) -> Iterator[SourceFile]:
    """Yield the original images in a shard, in shard order, without augmented copies.

    The path is `SHARD!/IMAGE_ID`. Where an id occurs twice, it is `SHARD!/HASH/IMAGE_ID`, with the hash of the original
    file: two sources may both have an image `1`.

    Yields:
        Files whose size is that of `image/encoded` and whose version is `record:` with the CRC of the record's data in
        hexadecimal. A damaged record has size 0.

    Raises:
        OSError: If the shard is damaged or was not written by prepare.
    """
    found = list(_originals(shard))
    times = Counter(original.image_id for original in found)
    for image_id, sha256, size, place in found:
        name = image_id if times[image_id] == 1 else f"{sha256[:16]}/{image_id}"
        version = f"record:{int.from_bytes(place.crc, 'little'):08x}"
        yield SourceFile(f"{shard}!/{name}", f"{posixpath.basename(shard)}/{name}", size, version=version, record=place)


def read_records_at(shard: str, places: Iterable[RecordPlace]) -> Iterator[bytes | StorageError]:
    """Yield `image/encoded` of each record, or the error that prevented reading it.

    The shard is opened once.

    Args:
        shard: Path of the shard.
        places: Positions of the records in it.

    Yields:
        One result per place, in the order given.

    Raises:
        ServiceUnavailable: If the store does not respond (see `gcs_client`).
    """
    try:
        file = filesystem.open_file(shard)
    except StorageError as error:
        require_service(shard, error.source)
        yield from (error for _ in places)
        return
    with file:
        for place in places:
            try:
                file.seek(place.offset)
                frame = file.read(place.size)
                if frame[-len(place.crc) :] != place.crc:
                    raise StorageError("the shard was replaced while the pipeline ran", "OSError")
                data = next_record(io.BytesIO(frame))
                yield parse_record(data or b"").encoded
            except (KeyError, IndexError, ValueError) as error:
                yield StorageError(f"damaged record: {error}", "OSError")
            except StorageError as error:
                require_service(shard, error.source)
                yield error
