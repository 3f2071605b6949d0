"""Read, hash and decode each listed image once, and emit one ImageRow per file without the image bytes."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines.beam import progress
from pipelines.beam.threads import ThreadedDoFn, in_global_window
from pipelines.curation import masks
from pipelines.curation.corrections import Correction, corrected
from pipelines.curation.decode_cache import Known, KnownContents, ReadCache, Recall
from pipelines.curation.folder_splits import folder_split
from pipelines.dataset.image_row import ImageRow, Stored, Thumbnail
from pipelines.dataset.originals import Original, make_original, own_reduction, shard_order
from pipelines.dataset.record_spec import RecordSpec
from pipelines.domain.image_ids import image_id_of
from pipelines.domain.labels import folder_claim
from pipelines.domain.taxonomy import ClassSet
from pipelines.imaging import images, perceptual
from pipelines.imaging.decode_turns import TURNS
from pipelines.imaging.quality import pixel_scores
from pipelines.sources import list_images
from pipelines.sources.read_ahead import Content, map_files
from pipelines.sources.source import Source
from pipelines.sources.source_file import SourceFile
from pipelines.storage.errors import StorageError
from pipelines.storage.packs import Packed, PackWriter


def listed_row(
    file: SourceFile,
    root: str,
    inputs: Mapping[str, Source],
    class_set: ClassSet,
    use_folder_splits: bool = False,
) -> ImageRow:
    """Return the row of a listed file, with the folder claim.

    Args:
        file: The file.
        root: The input path under which it was found.
        inputs: Maps each listed input path to its Source.
        class_set: Classes that folder names may stand for.
        use_folder_splits: Whether the split named by a folder becomes the row's `given_split`.
    """
    source = inputs[root]
    folders = [name for name in (list_images.folder_name(root), *file.relative.split("/")[:-1]) if name]
    speaks = source.folders_speak and folders
    named_split = folder_split(folders)
    return ImageRow(
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


def with_content(row: ImageRow, content: Content) -> ImageRow:
    """Return the row of a file that has been read, with its hash.

    Args:
        row: What `listed_row` returned.
        content: The file's bytes, or why it cannot be read.

    Returns:
        The row, rejected if the file cannot be read or is not worth reading.
    """
    if isinstance(content, StorageError):
        return row.rejected("read", content.code, str(content))
    return row._replace(size=len(content), sha256=hashlib.sha256(content).hexdigest())


class Examined(NamedTuple):
    """A row after decoding, with what is kept of its pixels."""

    row: ImageRow
    thumbnail: bytes = b""  # see `perceptual`; empty if the row is rejected
    original: Original | None = None  # None if no records are to be made, or the row is rejected


def examine(row: ImageRow, data: bytes, spec: RecordSpec | None = None, measure_quality: bool = False) -> Examined:
    """Decode an image once, for all that is made of its pixels: hash, thumbnail, and what its records hold.

    Args:
        row: Row of a file that has been read. A row that already has an outcome is returned unchanged.
        data: The file's bytes.
        spec: How images become records; None if there will be no records.
        measure_quality: Whether the row gets scores of its quality.

    Returns:
        The row with format, size and hash, or rejected if decoding fails.
    """
    if row.outcome:
        return Examined(row)
    try:
        info = images.read_info(data)
        row = row._replace(format=info.format, width=info.width, height=info.height)
        # Decoding at a reduced size still reads every byte of the file, so truncation is detected.
        factor = images.reduction(info.width, info.height, images.SHARED_SIDE, "stretch")
        with images.decode_turn(info, min(factor, own_reduction(info, spec)) if spec else factor):
            decoded = images.decode_image(data, factor)
            row = masks.reject_no_photograph(row, decoded)
            if row.outcome:
                return Examined(row)
            original = make_original(data, info, factor, decoded, spec) if spec else None
            square = perceptual.square_of(decoded)
            phash, thumbnail = perceptual.signature(square)
            if measure_quality:
                row = row._replace(quality=pixel_scores(decoded, square))
    except images.BadImage as error:
        return Examined(row.rejected("check", error.reason, error.message))
    return Examined(row._replace(phash=phash), thumbnail, original)


class _CheckChunks(ThreadedDoFn):
    """Chunks of listed files -> rows; those of images whose records an earlier dataset has go to the output `recalled`.

    Thumbnails and encoded originals are put into packs.
    """

    def __init__(
        self,
        start: Callable[..., ImageRow],
        threads: int,
        packs: str,
        spec: RecordSpec | None,
        measure_quality: bool,
        memory_budget: int,
    ):
        super().__init__(threads)
        self._memory_budget = memory_budget
        self._start = start
        self._packs = packs
        self._spec = spec
        self._measure_quality = measure_quality
        self._checked = Metrics.counter("prepare", "checked")

    def setup(self) -> None:
        """Start the threads and share out the memory."""
        super().setup()
        TURNS.resize(self._memory_budget)

    def start_bundle(self) -> None:
        """Start with no pending images and an empty pack."""
        # Kept across chunks, so that no thread waits for the last image of a chunk.
        self._pending = self.look_ahead()
        self._pack: PackWriter[Examined] = PackWriter(self._packs)

    def process(
        self,
        element: list[list_images.ListedFile],
        known: Known | None = None,
        corrections: Mapping[str, Correction] | None = None,
    ) -> Iterator:
        """Check a chunk.

        Args:
            element: A chunk of listed files.
            known: The contents that need no decoding.
            corrections: The corrections of people, by the names of images.

        Yields:
            Rows of this chunk or of earlier ones.
        """
        listed = list_images.images_of(element)
        self._checked.inc(len(listed))
        progress.count("checked", len(element) - len(listed))
        for root, found in itertools.groupby(listed, key=lambda one: one.root):
            examine_file = functools.partial(self._examine, root=root, known=known, corrections=corrections)
            yield from self._rows(map_files(examine_file, [one.file for one in found], self._pending.feed))

    def finish_bundle(self) -> Iterator:
        """Yield the remaining rows."""
        yield from map(in_global_window, self._rows(itertools.chain.from_iterable(self._pending.drain())))
        yield from map(in_global_window, _placed(self._pack.flush()))

    def _examine(
        self,
        file: SourceFile,
        content: Content,
        root: str,
        known: Known | None,
        corrections: Mapping[str, Correction] | None,
    ) -> Examined:
        progress.count("checked")
        row = with_content(self._start(file, root), content)
        if corrections:
            row = corrected(row, corrections)
        if isinstance(content, StorageError):
            return Examined(row)
        # Under the name of a mask, a content that was a photograph may be rejected.
        if known and row.sha256 in known and not masks.is_called_mask(row.relative):
            return Examined(row)
        return examine(row, content, self._spec, self._measure_quality)

    def _rows(self, examined: Iterable[Examined]) -> Iterator:
        for one in examined:
            if one.row.outcome:
                yield one.row
            elif not one.thumbnail:
                yield beam.pvalue.TaggedOutput("recalled", one.row)
            else:
                contents = [one.thumbnail, one.original.encoded] if one.original else [one.thumbnail]
                order = shard_order(self._spec.seed, one.row.sha256) if self._spec else 0
                yield from _placed(self._pack.add(one, order, contents))


def _placed(packed: Sequence[Packed[Examined]]) -> Iterator[ImageRow]:
    """Return the rows of images whose contents have been packed, with sketches and with the places of the contents."""
    sketches = perceptual.sketches([one.item.thumbnail for one in packed])
    for (examined, pack, pieces), sketch in zip(packed, sketches, strict=True):
        row = examined.row._replace(sketch=sketch, thumbnail=Thumbnail(pack, pieces[0]))
        if examined.original:
            row = row._replace(stored=Stored(pack, pieces[1:], examined.original.sums))
        yield row


class CheckImages(beam.PTransform):
    """PTransform: chunks of listed files -> one ImageRow per file, in no particular order.

    Each file is read and decoded once. What later stages need of its pixels lies in packs.

    Args:
        inputs: The sources whose files are listed.
        class_set: Classes that folder names may stand for.
        use_folder_splits: Whether the split named by a folder becomes the row's `given_split`.
        threads: Files that each DoFn instance reads and decodes at once.
        packs: The folder for packs.
        spec: How images become records; None if there will be no records.
        cache: A dataset with the same spec whose records are used instead of decoding their images, see
            `decode_cache`; empty for none.
        measure_quality: Whether rows get scores of their quality. Those from the cache get none.
        corrections: What `correct.ReadCorrections` read, which is noted on the rows; None for none.
        memory_budget: Bytes that large images take at once in each worker process; 0: the default.
    """

    def __init__(
        self,
        inputs: Sequence[Source],
        class_set: ClassSet,
        use_folder_splits: bool,
        threads: int,
        packs: str,
        spec: RecordSpec | None = None,
        cache: str = "",
        measure_quality: bool = False,
        corrections: beam.PCollection | None = None,
        memory_budget: int = 0,
    ):
        super().__init__()
        start = functools.partial(
            listed_row,
            inputs={source.path: source for source in inputs},
            class_set=class_set,
            use_folder_splits=use_folder_splits,
        )
        self._check = _CheckChunks(start, threads, packs, spec, measure_quality, memory_budget)
        self._packs = packs
        self._cache = cache
        self._side = {"corrections": beam.pvalue.AsSingleton(corrections)} if corrections is not None else {}

    def expand(self, chunks: beam.PCollection) -> beam.PCollection[ImageRow]:
        """Turn lists of ListedFile into rows; unreadable and undecodable files come out as rejected rows."""
        if not self._cache:
            return chunks | beam.ParDo(self._check, **self._side)
        cached = chunks.pipeline | "Read cache" >> ReadCache(self._cache)
        known = cached | "Known contents" >> KnownContents()
        checked = chunks | beam.ParDo(self._check, beam.pvalue.AsSingleton(known), **self._side).with_outputs(
            "recalled", main="rows"
        )
        recalled = (checked.recalled, cached) | "Recall" >> Recall(self._packs)
        return (checked.rows, recalled) | "Checked" >> beam.Flatten()
