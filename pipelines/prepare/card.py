"""Write the dataset card: gather what it needs from the finished rows, then make its page and its Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import apache_beam as beam

from pipelines.beam.threads import ThreadedDoFn
from pipelines.common.seeding import stable_hash
from pipelines.curation.value_counts import LICENSE, VALUES, FrequentValues
from pipelines.dataset.file_names import CARD_PAGE, CARD_TEXT
from pipelines.dataset.image_row import WRITTEN, ImageRow
from pipelines.imaging.encoding import decode
from pipelines.imaging.previews import small_jpeg
from pipelines.prepare.card_report import card_page, card_text, describe_card
from pipelines.prepare.options import PrepareOptions
from pipelines.prepare.regenerate import regenerating_command
from pipelines.storage import filesystem
from pipelines.storage.packs import Piece, read_pieces

# Training images shown per class; pictures per image (the original and its first copies); side of a picture in pixels.
_IMAGES = 3
_PICTURES = 4
_SIDE = 96
# Only the first classes show images: a page with more pictures than that is slow to open.
_CLASSES = 40


class Candidate(NamedTuple):
    """Image that the card may show; the candidates with the smallest order are shown."""

    order: int
    sha256: str
    row: ImageRow


def _candidates(row: ImageRow, shown: frozenset[str], seed: int) -> Iterator[tuple[str, Candidate]]:
    if row.outcome == WRITTEN and row.split == "train" and row.label in shown:
        yield row.label, Candidate(stable_hash(seed, "card", row.sha256), row.sha256, row)


class _WriteCard(ThreadedDoFn):
    """DoFn that writes both forms of the card and then yields the content of dataset.json unchanged."""

    def __init__(self, options: PrepareOptions, folder: str, threads: int):
        super().__init__(threads)
        self._folder = folder
        self._spec = options.record_spec
        self._sources = [source.name for source in options.sources]
        self._command = regenerating_command(options)

    def _small(self, shard: str, pieces: Sequence[Piece]) -> dict[tuple[str, Piece], bytes]:
        """Return small JPEGs of records of one shard, which is read once: a gzipped one only from its start."""
        size = self._spec.image_size
        found = read_pieces(filesystem.join(self._folder, shard), pieces, self._spec.compression)
        return {
            (shard, piece): small_jpeg(decode(encoded, self._spec.encoding, size, size), _SIDE)
            for piece, encoded in found.items()
        }

    def _pictures(self, shown: Sequence[ImageRow]) -> dict[str, list[tuple[str, list[bytes]]]]:
        """Return for each class the ids of its images and small JPEGs of their first records."""
        places = [(row, row.stored.file, row.stored.pieces[:_PICTURES]) for row in shown if row.stored]
        wanted: dict[str, list[Piece]] = {}
        for _, shard, pieces in places:
            wanted.setdefault(shard, []).extend(pieces)
        small: dict[tuple[str, Piece], bytes] = {}
        for found in self.map_threaded(lambda item: self._small(*item), wanted.items()):
            small.update(found)
        pictures: dict[str, list[tuple[str, list[bytes]]]] = {}
        for row, shard, pieces in places:
            pictures.setdefault(row.label, []).append((row.image_id, [small[shard, piece] for piece in pieces]))
        return pictures

    def process(
        self,
        description: bytes,
        totals: Mapping,
        values: Mapping[str, Sequence[tuple[str, int]]],
        chosen: Mapping[str, Sequence[Candidate]],
    ) -> Iterator[bytes]:
        report = describe_card(
            json.loads(description), totals, values.get(LICENSE, ()), VALUES, self._sources, self._command
        )
        shown = [candidate.row for name in report["names"] for candidate in chosen.get(name, ())]
        filesystem.write_bytes(filesystem.join(self._folder, CARD_PAGE), card_page(report, self._pictures(shown)))
        filesystem.write_bytes(filesystem.join(self._folder, CARD_TEXT), card_text(report))
        yield description


class WriteCard(beam.PTransform):
    """PTransform that writes report.html and report.md.

    The same dataset from the same inputs gives the same bytes: the card names neither times nor the output folder.

    Args:
        written: The rows whose records were to be written, with their outcome.
        totals: The sum of `description.tally_row` over all rows.
        options: The validated options.
        folder: The folder to write to.
        threads: Images processed at once per worker process.
    """

    def __init__(
        self,
        written: beam.PCollection[ImageRow],
        totals: beam.PCollection,
        options: PrepareOptions,
        folder: str,
        threads: int,
    ):
        super().__init__()
        self._written = written
        self._totals = totals
        self._options = options
        self._write = _WriteCard(options, folder, threads)

    def expand(self, description: beam.PCollection[bytes]) -> beam.PCollection[bytes]:
        """Turn one content of dataset.json into the same element, once both files are written."""
        shown = frozenset(self._options.classes[:_CLASSES])
        values = (
            self._written
            | "Written" >> beam.Filter(lambda row: row.outcome == WRITTEN)
            | "Licences" >> FrequentValues((LICENSE,))
        )
        chosen = (
            self._written
            | "Candidates" >> beam.FlatMap(_candidates, shown, self._options.seed)
            | "Choose" >> beam.combiners.Top.SmallestPerKey(_IMAGES)
        )
        return description | "Write card" >> beam.ParDo(
            self._write,
            beam.pvalue.AsSingleton(self._totals),
            beam.pvalue.AsDict(values),
            beam.pvalue.AsDict(chosen),
        )
