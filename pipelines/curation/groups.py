"""Group images that must stay in one split: images of one lesion, optionally of one patient, and near-duplicates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import apache_beam as beam

from pipelines.beam.components import ConnectedComponents
from pipelines.curation.deduplicate import ByComponent, image_keys
from pipelines.curation.near_duplicates import FindNearDuplicates, NearPair, Picture
from pipelines.dataset.image_row import ImageRow, Thumbnail
from pipelines.storage import filesystem
from pipelines.storage.errors import StorageError
from pipelines.storage.packs import Piece, read_pieces


def group_keys(row: ImageRow, by_patient: bool) -> list[str]:
    """Return the keys that an image shares with the other images of its group.

    Args:
        row: Row of the image.
        by_patient: Whether images of one patient belong together.
    """
    keys = [f"image:{key}" for key in image_keys(row)] + [f"lesion:{lesion}" for lesion in row.lesion_ids]
    return keys + [f"patient:{patient}" for patient in row.patient_ids if by_patient]


class Near(NamedTuple):
    """The PCollections that FindNear returns."""

    rows: beam.PCollection  # one row per image
    pairs: beam.PCollection  # NearPair of content hashes
    counts: beam.PCollection  # one dict: "pairs" found, and "skipped" comparisons that the search's limits left out


def load_thumbnails(packs: str, thumbnails: list[Thumbnail]) -> list[bytes]:
    """Return the contents of thumbnails, in order. Each pack is read once.

    Args:
        packs: The folder of the packs.
        thumbnails: Where they lie.

    Raises:
        StorageError: If a pack cannot be read, or is damaged.
    """
    by_pack: dict[str, list[Piece]] = {}
    for thumbnail in thumbnails:
        by_pack.setdefault(thumbnail.pack, []).append(thumbnail.piece)
    found = {pack: read_pieces(filesystem.join(packs, pack), pieces) for pack, pieces in by_pack.items()}
    for pack, pieces in by_pack.items():
        if lost := set(pieces) - found[pack].keys():
            raise StorageError(f"{filesystem.join(packs, pack)}: {len(lost)} thumbnails are damaged")
    return [found[thumbnail.pack][thumbnail.piece] for thumbnail in thumbnails]


class FindNear(beam.PTransform):
    """PTransform: resolved rows -> Near, with the images that show one picture under several ids.

    See `near_duplicates`. Images that were rejected for their labels or licences take part: the images that they link
    still belong together.

    Args:
        load: Returns the contents of thumbnails, see `load_thumbnails`.
    """

    def __init__(self, load: Callable[[list[Thumbnail]], list[bytes]]):
        super().__init__()
        self._load = load

    def expand(self, resolved: beam.PCollection[ImageRow]) -> Near:
        """Keep one row per image and find the near-duplicate pairs among them."""
        rows = resolved | "One of each image" >> beam.Filter(lambda row: row.path == row.image_of)
        pictures = rows | "Pictures" >> beam.Map(lambda row: Picture(row.sha256, row.phash, row.sketch, row.thumbnail))
        pairs, skipped = pictures | "Find" >> FindNearDuplicates(self._load)
        counts = (
            rows.pipeline
            | "Once" >> beam.Create([None])
            | "Counts"
            >> beam.Map(
                lambda _, found, left_out: {"pairs": found, "skipped": left_out},
                beam.pvalue.AsSingleton(pairs | "Count pairs" >> beam.combiners.Count.Globally()),
                beam.pvalue.AsSingleton(
                    skipped
                    | "Skips" >> beam.Map(lambda bucket: bucket.skipped)
                    | "Sum skips" >> beam.CombineGlobally(sum)
                ),
            )
        )
        return Near(rows, pairs, counts)


def near_keys(pair: NearPair) -> list[tuple[str, list[str]]]:
    """Return (content hash, group keys) for both images of a pair; they share one key."""
    key = f"near:{pair.first}:{pair.second}"
    return [(pair.first, [key]), (pair.second, [key])]


class AssignGroups(beam.PTransform):
    """PTransform: (rows of distinct images, NearPairs, all resolved rows) -> the first rows with their `group_id`.

    A group is a connected component over content hashes, ISIC ids, lesion ids, patient ids (with `by_patient`) and
    near-duplicate pairs. An image without any link is a group of its own. Rejected rows link other rows too: it remains
    true that a lesion has two ids, or that two images show one lesion.

    Args:
        by_patient: Whether images of one patient belong together.
    """

    def __init__(self, by_patient: bool = False):
        super().__init__()
        self._by_patient = by_patient

    def expand(self, inputs: tuple[beam.PCollection, ...]) -> beam.PCollection[ImageRow]:
        """Take (rows, pairs of content hashes, resolved rows) and return the rows with `group_id` set."""
        rows, pairs, resolved = inputs
        keys = resolved | "Group keys" >> beam.Map(
            lambda row, patient: (row.sha256, group_keys(row, patient)), self._by_patient
        )
        near = pairs | "Pair keys" >> beam.FlatMap(near_keys)
        components = (
            (keys, near)
            | "All keys" >> beam.Flatten()
            | "Keys of image" >> beam.CombinePerKey(_Concatenate())
            | "Groups" >> ConnectedComponents()
        )
        return (
            (rows, components)
            | "By group" >> ByComponent()
            | "With group" >> beam.MapTuple(lambda group, row: row._replace(group_id=group))
        )


class _Concatenate(beam.CombineFn):
    def create_accumulator(self) -> list[str]:
        return []

    def add_input(self, keys: list[str], more: Iterable[str]) -> list[str]:
        return [*keys, *more]

    def merge_accumulators(self, accumulators: Iterable[list[str]]) -> list[str]:
        return [key for keys in accumulators for key in keys]

    def extract_output(self, keys: list[str]) -> list[str]:
        return keys
