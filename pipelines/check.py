"""Read, hash and decode every listed image once: one row each, the bytes stay where they are."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines import images, perceptual, sources, storage
from pipelines.gcs_client import ServiceUnavailable
from pipelines.image_names import image_id_of
from pipelines.labels import folder_claim
from pipelines.layouts import Source
from pipelines.parallel import ThreadedDoFn
from pipelines.rows import ImageRow, is_open, partition
from pipelines.taxonomy import ClassSet, normalize_term

# Folder names by which data sets mark their own splits.
FOLDER_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


def folder_split(folders: Sequence[str]) -> str:
    """The split named by the deepest Train/Validation/Test folder, else an empty string."""
    for folder in reversed(folders):
        split = FOLDER_SPLITS.get(normalize_term(folder))
        if split:
            return split
    return ""


def read_row(
    listed: sources.ListedFile, inputs: Mapping[str, Source], class_set: ClassSet, use_folder_splits: bool = False
) -> tuple[ImageRow, bytes]:
    """The row of one file, with what its folders say and its content hash, and its bytes.

    Rejected (`unreadable`) and without bytes if it cannot be read. inputs: the source of each path that is listed.
    """
    root, file = listed
    source = inputs[root]
    folders = [name for name in (sources.folder_name(root), *file.relative.split("/")[:-1]) if name]
    speaks = source.folders_speak and folders
    named_split = folder_split(folders)
    row = ImageRow(
        path=file.path,
        relative=file.relative,
        member=file.member,
        size=file.size,
        image_id=image_id_of(file.relative),
        source=source.name,
        claims=(folder_claim(folders[::-1], class_set, (source.name,)),) if speaks else (),
        folder_split=named_split,
        given_split=named_split if use_folder_splits else "",
    )
    try:
        data = sources.read_file(file.path, file.member)
    except ServiceUnavailable:
        raise
    except Exception as error:  # each filesystem raises its own kinds
        return row.rejected("read", "unreadable", storage.failure(error)), b""
    return row._replace(size=len(data), sha256=hashlib.sha256(data).hexdigest()), data


def inspect(row: ImageRow, data: bytes) -> ImageRow:
    """The row of a file that has been read, with what decoding it shows; rejected with a reason if that fails."""
    if row.outcome:
        return row
    try:
        info = images.read_info(data)
        row = row._replace(format=info.format, width=info.width, height=info.height)
        # Decoding at a fraction of the size reads every byte of the file all the same: truncation shows.
        factor = images.reduction(info.width, info.height, perceptual.DECODE_SIDE, "stretch")
        phash, thumbnail = perceptual.signature(images.decode(data, factor))
    except images.BadImage as error:
        return row.rejected("check", error.reason, error.message)
    return row._replace(phash=phash, thumbnail=thumbnail)


def inspect_again(row: ImageRow) -> ImageRow:
    """`inspect` for a row whose bytes have been let go: the file is read once more."""
    try:
        data = sources.read_file(row.path, row.member)
    except ServiceUnavailable:
        raise
    except Exception as error:  # each filesystem raises its own kinds
        return row.rejected("read", "unreadable", storage.failure(error))
    if hashlib.sha256(data).hexdigest() != row.sha256:
        return row.rejected("read", "changed", "the file was replaced while the pipeline ran")
    return inspect(row, data)


def _check(listed: sources.ListedFile, start: Callable[..., tuple[ImageRow, bytes]]) -> ImageRow:
    return inspect(*start(listed))


def _read(listed: sources.ListedFile, start: Callable[..., tuple[ImageRow, bytes]]) -> ImageRow:
    return start(listed)[0]


class _MapChunk(ThreadedDoFn):
    """Chunks of listed files -> what `function` makes of each image."""

    def __init__(self, function: Callable[[sources.ListedFile], ImageRow], threads: int):
        super().__init__(threads)
        self._function = function
        self._checked = Metrics.counter("prepare", "checked")

    def process(self, element: list[sources.ListedFile]) -> Iterator[ImageRow]:
        listed = sources.images_of(element)
        self._checked.inc(len(listed))
        yield from self.map_threaded(self._function, listed)


class _InspectRows(ThreadedDoFn):
    """Lists of rows -> the rows inspected."""

    def process(self, element: list[ImageRow]) -> Iterator[ImageRow]:
        yield from self.map_threaded(inspect_again, element)


class CheckImages(beam.PTransform):
    """Chunks of listed files -> one ImageRow per file, in no particular order.

    recall: rows that have been read -> `rows` that need not be decoded, and `unknown`; see `known_images.Recall`.
    """

    def __init__(
        self,
        inputs: Sequence[Source],
        class_set: ClassSet,
        use_folder_splits: bool,
        threads: int,
        recall: beam.PTransform | None = None,
    ):
        super().__init__()
        start = functools.partial(
            read_row,
            inputs={source.path: source for source in inputs},
            class_set=class_set,
            use_folder_splits=use_folder_splits,
        )
        self._start = start
        self._threads = threads
        self._recall = recall

    def expand(self, chunks: beam.PCollection) -> beam.PCollection[ImageRow]:
        if self._recall is None:
            return chunks | beam.ParDo(_MapChunk(functools.partial(_check, start=self._start), self._threads))
        read = chunks | "Read" >> beam.ParDo(_MapChunk(functools.partial(_read, start=self._start), self._threads))
        unreadable, readable = read | "Readable" >> partition(is_open)
        recalled = readable | "Known" >> self._recall
        inspected = (
            recalled.unknown
            | "Batches" >> beam.BatchElements(min_batch_size=16, max_batch_size=sources.FILES_PER_CHUNK)
            | "Inspect" >> beam.ParDo(_InspectRows(self._threads))
        )
        return (unreadable, recalled.rows, inspected) | "Checked" >> beam.Flatten()
