"""Find the photographs of pictures that may be masks: a picture of two colours is one if it is named after another."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

import apache_beam as beam

from pipelines.curation.masks import BLANK, NO_PHOTOGRAPH
from pipelines.dataset.image_row import MASK, ImageRow
from pipelines.domain.image_ids import isic_id_of

# The path of a photograph below its input, which sorts those of one id, and the whole path.
_Photograph = tuple[bytes, bytes]


def _as_bytes(name: str) -> bytes:
    """Return a name in bytes: Beam cannot encode a text with what is no UTF-8 in the name of a file."""
    return name.encode("utf-8", "surrogatepass")


def _may_be_mask(row: ImageRow) -> bool:
    # Cameras number the frames of every folder from one: a blank picture with the plain name of a photograph may be
    # another frame, one that failed.
    return row.reason == NO_PHOTOGRAPH or (row.reason == BLANK and isic_id_of(row.relative) != "")


def _ids_beside(row: ImageRow) -> list[bytes]:
    """Return the ids that the photograph of a mask may have, its own first: of `IMD003_lesion` also `IMD003`.

    Args:
        row: A row for which `_may_be_mask` is true.
    """
    ends = [found.start() for found in re.finditer(r"[_ -]", row.image_id)] if row.reason == NO_PHOTOGRAPH else []
    return list(map(_as_bytes, [row.image_id, *(row.image_id[:end] for end in reversed(ends) if end)]))


def _photographs_of(row: ImageRow, image_ids: Collection[bytes]) -> Iterator[tuple[bytes, _Photograph]]:
    image_id = _as_bytes(row.image_id)
    if image_id in image_ids:
        yield image_id, (_as_bytes(row.relative), _as_bytes(row.path))


def _as_mask(row: ImageRow, photographs: Mapping[bytes, _Photograph]) -> ImageRow:
    ids = _ids_beside(row) if _may_be_mask(row) else []
    found = next(filter(None, map(photographs.get, ids)), None)
    if found is None:
        return row
    relative, path = (name.decode("utf-8", "surrogatepass") for name in found)
    said = "has the id of" if ids[0] in photographs else "is named after"
    rejected = row.rejected("identify", MASK, f"a mask, {row.message}, and it {said} {relative}")
    return rejected._replace(image_of=path)


class FindMasks(beam.PTransform):
    """PTransform: (rejected rows, readable rows) -> the first, as `mask` where the picture of another file has the id.

    The few rows in doubt are held against all others: no row is shuffled for it.
    """

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection[ImageRow]:
        """Return the rejected rows."""
        rejected, readable = inputs
        image_ids = (
            rejected
            | "In doubt" >> beam.Filter(_may_be_mask)
            | "Their ids" >> beam.FlatMap(_ids_beside)
            | "Ids in doubt" >> beam.combiners.ToSet()
        )
        photographs = (
            readable
            | "Photographs" >> beam.FlatMap(_photographs_of, beam.pvalue.AsSingleton(image_ids))
            | "One of each id" >> beam.CombinePerKey(min)
        )
        return rejected | "As masks" >> beam.Map(_as_mask, beam.pvalue.AsDict(photographs))
