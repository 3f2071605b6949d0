"""List the image files of a job's inputs across workers."""

from __future__ import annotations

import itertools
import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import apache_beam as beam

from pipelines.beam import progress
from pipelines.beam.packed_groups import PackedGroupByKey
from pipelines.common.seeding import stable_hash
from pipelines.common.text import printable
from pipelines.dataset.accounting import FIRST_NAMES, images_listed, path_hash
from pipelines.domain.image_ids import is_image_name
from pipelines.sources.list_files import fixed_part, list_units
from pipelines.sources.record_source import is_record_source, record_units
from pipelines.sources.source_file import SourceFile, Unit, container_of, file_place, offset_of
from pipelines.sources.unnamed_images import find_unnamed, kind_of_name
from pipelines.storage.archives import archive_stem, is_archive
from pipelines.storage.filesystem import is_folder, is_local
from pipelines.storage.globs import has_wildcard
from pipelines.storage.path_lists import is_path_list

# Kind of figure, and kind of file -> the first names of such files.
Names = dict[tuple[str, str], list[str]]


def _count_chunk(chunk: Sequence[ListedFile]) -> tuple[Counter, Names]:
    counts: Counter = Counter({("listed",): 0, ("ignored",): 0, ("listed paths",): 0})
    names: Names = {}
    for listed in chunk:
        file = listed.file
        if file.is_image:
            counts["listed",] += 1
            counts["listed paths",] += path_hash(file.path)
            continue
        if file.is_passed_over:
            key = ("passed over", file.kind)
        else:
            counts["listed",] += 1
            counts["ignored",] += 1
            key = ("ignored", kind_of_name(file.path))
        counts[key] += 1
        names.setdefault(key, []).append(printable(file.relative))
    return counts, names


class _TallyListed(beam.CombineFn):
    """CombineFn that adds up Counters and keeps the first names of each kind."""

    def create_accumulator(self) -> tuple[Counter, Names]:
        return Counter(), {}

    def add_input(self, totals: tuple[Counter, Names], found: tuple[Counter, Names]) -> tuple[Counter, Names]:
        counts, names = totals
        counts.update(found[0])
        for key, more in found[1].items():
            names[key] = sorted({*names.get(key, ()), *more})[:FIRST_NAMES]
        return totals

    def merge_accumulators(self, accumulators: Iterable[tuple[Counter, Names]]) -> tuple[Counter, Names]:
        merged = self.create_accumulator()
        for totals in accumulators:
            self.add_input(merged, totals)
        return merged

    def extract_output(self, totals: tuple[Counter, Names]) -> dict:
        counts, names = totals
        return {**counts, ("names",): names}


class CountListed(beam.PTransform):
    """PTransform that counts the listed files."""

    def expand(self, chunks: beam.PCollection) -> beam.PCollection[Mapping]:
        """Turn chunks of listed files into one mapping, which `accounting` reads.

        It has the number of files, of those `ignored`, of these and of what was `passed over` by kind with the first
        names, and the sum of the path hashes of images.
        """
        return chunks | "Count files" >> beam.Map(_count_chunk) | "Sum files" >> beam.CombineGlobally(_TallyListed())


def image_count(listed: Mapping) -> int:
    """Return the number of images in the result of CountListed."""
    return images_listed(listed)


# One work item: large enough to hide the overhead, small enough to distribute evenly.
FILES_PER_CHUNK = 64


def folder_name(root: str) -> str:
    """Return the name of the innermost folder that contains all files of an input.

    The folder may be named after a class or a split.

    Args:
        root: The input. For a folder, its own name counts; for an archive, its name without the extension; for a
            pattern, the folder before the first wildcard; for a single file, the folder that contains it.

    Returns:
        The name, or an empty string if there is none. A path list has none: its file name says nothing about its files.
    """
    path = root.replace("\\", "/")
    if is_local(path):
        path = posixpath.normpath(path)
    name = posixpath.basename(path.rstrip("/"))
    if is_folder(root):
        return name
    if is_archive(root):
        return archive_stem(name)
    if is_path_list(root):
        return ""
    is_file = is_local(root) and os.path.exists(root)
    if is_file or (is_image_name(name) and not has_wildcard(root)):
        return posixpath.basename(posixpath.dirname(path))
    return posixpath.basename(fixed_part(path).rstrip("/")) if has_wildcard(root) else name


class ListedFile(NamedTuple):
    """A listed file and the input under which it was found."""

    root: str
    file: SourceFile


def images_of(chunk: Iterable[ListedFile]) -> list[ListedFile]:
    """Return the files that should be images, either by name or as records.

    Other files, such as licences and tables, are counted but not read.
    """
    return [listed for listed in chunk if listed.file.is_image]


def _best(listings: Iterable[ListedFile]) -> ListedFile:
    """Return the listing that keeps the most folders, of one file found under several inputs.

    The result does not depend on the order of the listings.
    """

    def order(listed: ListedFile) -> tuple:
        file = listed.file
        return -len(file.relative), listed.root, file.path, file.relative, file.size, file.version

    return min(listings, key=order)


def _once(element: tuple[int, Iterable[ListedFile]]) -> Iterator:
    """Yield each file once from the listings that share a path or a container.

    Files of an archive or shard go to the output `chunks` as lists in storage order, which makes reading them fastest.
    """
    by_place: dict[tuple[str, str], list[ListedFile]] = {}
    for listed in element[1]:
        by_place.setdefault(file_place(listed.file), []).append(listed)
    files = iter(sorted(map(_best, by_place.values()), key=lambda listed: offset_of(listed.file)))
    while chunk := list(itertools.islice(files, FILES_PER_CHUNK)):
        progress.count("listed", len(chunk))
        if container_of(chunk[0].file):
            yield beam.pvalue.TaggedOutput("chunks", chunk)
        else:
            yield from chunk


def _keyed_units(root: str, records: bool) -> Iterator[tuple[int, tuple[str, Unit]]]:
    units = record_units(root) if records and is_record_source(root) else list_units(root)
    # A part that is asked for again has the same key.
    return ((stable_hash(root, number), (root, unit)) for number, unit in enumerate(units))


def _list(part: tuple[str, Unit]) -> Iterator[ListedFile]:
    root, unit = part
    return (ListedFile(root, file) for file in unit())


def _chunks(part: tuple[str, Unit]) -> Iterator[list[ListedFile]]:
    remaining = _list(part)
    while chunk := list(itertools.islice(remaining, FILES_PER_CHUNK)):
        progress.count("listed", len(chunk))
        yield chunk


def _look_at_unnamed(chunk: list[ListedFile]) -> list[ListedFile]:
    files = find_unnamed(listed.file for listed in chunk)
    return [listed._replace(file=file) for listed, file in zip(chunk, files, strict=True)]


class ListImages(beam.PTransform):
    """PTransform that lists the files of inputs in chunks and distributes the chunks evenly among workers.

    The job graph holds only the inputs. Files are listed inside the pipeline, and different workers list different
    parts of an input. Inputs may overlap and a list may repeat a path: each file is emitted once.
    """

    def __init__(self, inputs: Sequence[str], records: bool = False):
        """Initialize the transform.

        Args:
            inputs: Paths of the inputs; repeats are dropped.
            records: Whether the original images of a prepared dataset, or of shards of one, count as images. Otherwise
                these files are ignored like any other non-image file.
        """
        super().__init__()
        self._inputs = list(dict.fromkeys(inputs))
        self._records = records

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[list[ListedFile]]:
        """Return chunks: lists of up to FILES_PER_CHUNK listed files, images or not."""
        parts = (
            begin
            | "Inputs" >> beam.Create(self._inputs, reshuffle=False)
            | "Parts" >> beam.FlatMap(_keyed_units, self._records)
            # Grouped, because of two Reshuffles Flink leaves the second one out: what has been shared out evenly counts
            # as even after any step. One worker would then read all images of a folder.
            | "Share out parts" >> beam.GroupByKey()
            | "Part" >> beam.FlatMapTuple(lambda _, parts: parts)
        )
        if len(self._inputs) == 1 and not is_path_list(self._inputs[0]):
            chunks = parts | "List" >> beam.FlatMap(_chunks)
            return chunks | "Share out" >> beam.Reshuffle() | "Look at unnamed" >> beam.Map(_look_at_unnamed)
        once = (
            parts
            | "List" >> beam.FlatMap(_list)
            | "By path" >> beam.Map(lambda listed: (stable_hash(file_place(listed.file)[0]), listed))
            | "Repeats" >> PackedGroupByKey()
            | "Once" >> beam.FlatMap(_once).with_outputs("chunks", main="files")
        )
        single = once.files | "Chunks" >> beam.BatchElements(FILES_PER_CHUNK, FILES_PER_CHUNK)
        chunks = (single, once.chunks) | "All chunks" >> beam.Flatten()
        return chunks | "Share out" >> beam.Reshuffle() | "Look at unnamed" >> beam.Map(_look_at_unnamed)
