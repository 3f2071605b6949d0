"""Read, hash and decode every listed image once: one row each, the bytes stay where they are."""

from __future__ import annotations

import functools
import hashlib
import posixpath
from collections.abc import Iterator, Mapping, Sequence

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines import images, perceptual, sources
from pipelines.labels import folder_claim
from pipelines.layouts import Source
from pipelines.parallel import ThreadedDoFn
from pipelines.rows import ImageRow
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


def check_image(
    listed: sources.ListedFile, inputs: Mapping[str, Source], class_set: ClassSet, use_folder_splits: bool = False
) -> ImageRow:
    """The row of one file: what its folders say, content hash, size; rejected with a reason if it cannot be read.

    inputs: the source of each path that is listed.
    """
    root, file = listed
    source = inputs[root]
    folders = [posixpath.basename(root.replace("\\", "/").rstrip("/")), *file.relative.split("/")[:-1]]
    named_split = folder_split(folders)
    row = ImageRow(
        path=file.path,
        relative=file.relative,
        member=file.member,
        size=file.size,
        image_id=sources.image_id_of(file.relative),
        source=source.name,
        claims=(folder_claim(folders[::-1], class_set, (source.name,)),) if source.folders_speak else (),
        folder_split=named_split,
        given_split=named_split if use_folder_splits else "",
    )
    try:
        data = sources.read_file(file.path, file.member)
    except Exception as error:  # each filesystem raises its own kinds
        return row.rejected("read", "unreadable", sources.failure(error))
    row = row._replace(size=len(data), sha256=hashlib.sha256(data).hexdigest())
    try:
        info = images.read_info(data)
        row = row._replace(format=info.format, width=info.width, height=info.height)
        # Decoding at a fraction of the size reads every byte of the file all the same: truncation shows.
        factor = images.reduction(info.width, info.height, perceptual.DECODE_SIDE, "stretch")
        phash, thumbnail = perceptual.signature(images.decode(data, factor))
    except images.BadImage as error:
        return row.rejected("check", error.reason, error.message)
    return row._replace(phash=phash, thumbnail=thumbnail)


class _CheckChunk(ThreadedDoFn):
    def __init__(self, inputs: Mapping[str, Source], class_set: ClassSet, use_folder_splits: bool, threads: int):
        super().__init__(threads)
        self._check = functools.partial(
            check_image, inputs=inputs, class_set=class_set, use_folder_splits=use_folder_splits
        )
        self._checked = Metrics.counter("prepare", "checked")

    def process(self, element: list[sources.ListedFile]) -> Iterator[ImageRow]:
        listed = sources.images_of(element)
        self._checked.inc(len(listed))
        yield from self.map_threaded(self._check, listed)


class CheckImages(beam.PTransform):
    """Chunks of listed files -> one ImageRow per file, in no particular order."""

    def __init__(self, inputs: Sequence[Source], class_set: ClassSet, use_folder_splits: bool, threads: int):
        super().__init__()
        by_path = {source.path: source for source in inputs}
        self._check = _CheckChunk(by_path, class_set, use_folder_splits, threads)

    def expand(self, chunks: beam.PCollection) -> beam.PCollection[ImageRow]:
        return chunks | beam.ParDo(self._check)
