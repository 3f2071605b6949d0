"""Read, hash and decode each listed image once, and emit one ImageRow per file without the image bytes."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines.beam.partition import partition
from pipelines.beam.threads import ThreadedDoFn
from pipelines.dataset.image_row import ImageRow, is_open
from pipelines.domain.image_ids import image_id_of
from pipelines.domain.labels import folder_claim
from pipelines.domain.taxonomy import ClassSet, normalize_term
from pipelines.imaging import images, perceptual
from pipelines.sources import list_images
from pipelines.sources.layouts import Source
from pipelines.storage import archives
from pipelines.storage.errors import StorageError

# Folder names that data sets use to mark their own splits.
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
    """Return the split named by the deepest Train/Validation/Test folder, or an empty string.

    Args:
        folders: Folder names, outermost first.
    """
    for folder in reversed(folders):
        split = FOLDER_SPLITS.get(normalize_term(folder))
        if split:
            return split
    return ""


def read_row(
    listed: list_images.ListedFile, inputs: Mapping[str, Source], class_set: ClassSet, use_folder_splits: bool = False
) -> tuple[ImageRow, bytes]:
    """Read one file and return its row, with the folder claim and the content hash, and its bytes.

    Args:
        listed: The input path under which the file was found, and the file.
        inputs: Maps each listed input path to its Source.
        class_set: Classes that folder names may stand for.
        use_folder_splits: Whether the split named by a folder becomes the row's `given_split`.

    Returns:
        The row and the file's bytes. If the file cannot be read, the row is rejected as `unreadable` and the bytes are
        empty.

    Raises:
        ServiceUnavailable: Cloud Storage itself does not answer. The file is not to blame, so it is not rejected.
    """
    root, file = listed
    source = inputs[root]
    folders = [name for name in (list_images.folder_name(root), *file.relative.split("/")[:-1]) if name]
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
        data = archives.read_file(file.path, file.member)
    except StorageError as error:
        return row.rejected("read", "unreadable", str(error)), b""
    return row._replace(size=len(data), sha256=hashlib.sha256(data).hexdigest()), data


def inspect(row: ImageRow, data: bytes) -> ImageRow:
    """Return the row with format, size, hash and thumbnail of the decoded image, or reject it if decoding fails.

    Args:
        row: Row of a file that has been read. A row that already has an outcome is returned unchanged.
        data: The file's bytes.
    """
    if row.outcome:
        return row
    try:
        info = images.read_info(data)
        row = row._replace(format=info.format, width=info.width, height=info.height)
        # Decoding at a reduced size still reads every byte of the file, so truncation is detected.
        factor = images.reduction(info.width, info.height, images.SHARED_SIDE, "stretch")
        phash, thumbnail = perceptual.signature(images.decode_image(data, factor))
    except images.BadImage as error:
        return row.rejected("check", error.reason, error.message)
    return row._replace(phash=phash, thumbnail=thumbnail)


def inspect_again(row: ImageRow) -> ImageRow:
    """Read the file of a row again and `inspect` it, for rows whose bytes are no longer in memory.

    Returns:
        The inspected row, rejected as `unreadable` if reading fails and as `changed` if the content hash differs.

    Raises:
        ServiceUnavailable: Cloud Storage itself does not answer.
    """
    try:
        data = archives.read_file(row.path, row.member)
    except StorageError as error:
        return row.rejected("read", "unreadable", str(error))
    if hashlib.sha256(data).hexdigest() != row.sha256:
        return row.rejected("read", "changed", "the file was replaced while the pipeline ran")
    return inspect(row, data)


def _check(listed: list_images.ListedFile, start: Callable[..., tuple[ImageRow, bytes]]) -> ImageRow:
    return inspect(*start(listed))


def _read(listed: list_images.ListedFile, start: Callable[..., tuple[ImageRow, bytes]]) -> ImageRow:
    return start(listed)[0]


class _MapChunk(ThreadedDoFn):
    """Chunks of listed files -> the result of `function` for each image."""

    def __init__(self, function: Callable[[list_images.ListedFile], ImageRow], threads: int):
        super().__init__(threads)
        self._function = function
        self._checked = Metrics.counter("prepare", "checked")

    def process(self, element: list[list_images.ListedFile]) -> Iterator[ImageRow]:
        listed = list_images.images_of(element)
        self._checked.inc(len(listed))
        yield from self.map_threaded(self._function, listed)


class _InspectRows(ThreadedDoFn):
    """Lists of rows -> the inspected rows."""

    def process(self, element: list[ImageRow]) -> Iterator[ImageRow]:
        yield from self.map_threaded(inspect_again, element)


class CheckImages(beam.PTransform):
    """PTransform: chunks of listed files -> one ImageRow per file, in no particular order.

    Args:
        inputs: The sources whose files are listed.
        class_set: Classes that folder names may stand for.
        use_folder_splits: Whether the split named by a folder becomes the row's `given_split`.
        threads: Files that each DoFn instance reads and decodes at once.
        recall: PTransform that splits readable rows into `rows`, which need no decoding, and `unknown`. See
            `decode_cache.UseDecodeCache`. None: decode every image.
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
        """Turn lists of ListedFile into rows; unreadable and undecodable files come out as rejected rows."""
        if self._recall is None:
            return chunks | beam.ParDo(_MapChunk(functools.partial(_check, start=self._start), self._threads))
        read = chunks | "Read" >> beam.ParDo(_MapChunk(functools.partial(_read, start=self._start), self._threads))
        unreadable, readable = read | "Readable" >> partition(is_open)
        recalled = readable | "Known" >> self._recall
        inspected = (
            recalled.unknown
            | "Batches" >> beam.BatchElements(min_batch_size=16, max_batch_size=list_images.FILES_PER_CHUNK)
            | "Inspect" >> beam.ParDo(_InspectRows(self._threads))
        )
        return (unreadable, recalled.rows, inspected) | "Checked" >> beam.Flatten()
