"""Make the pictures of the triage report: read the files once more, compute class activation maps, encode small JPEGs.

Only the images shown on the page are processed, so the work does not grow with the archive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import apache_beam as beam

from pipelines.images import BadImage
from pipelines.inference import load_models
from pipelines.listing import SourceFile
from pipelines.reading import read_files
from pipelines.score_rows import ScoreRow, ScoringRun
from pipelines.tfrecord import RecordPlace
from pipelines.triage import CollectTriage, Triage
from pipelines.triage_pictures import TriagePictures, malignancy_map, triage_pictures


class _MakePictures(beam.DoFn):
    """DoFn that makes the pictures of a scored row, keyed by its path as bytes.

    Yields nothing for a file that can no longer be read or decoded.
    """

    def __init__(self, run: ScoringRun):
        self._run = run

    def setup(self) -> None:
        # Reuses the models if this process also scores.
        self._models = load_models(self._run.models, self._run.tta)

    def process(self, row: ScoreRow) -> Iterator[tuple[bytes, TriagePictures]]:
        model = self._run.models[0]
        try:
            ((_, data),) = read_files([file_of(row)])
            if isinstance(data, Exception):
                return
            heat = None
            activation = self._models.activation(data)
            if activation is not None:
                probabilities = row.by_model[0] if row.by_model else row.probabilities
                heat = malignancy_map(activation, probabilities, [c in model.malignant_classes for c in model.classes])
            pictures = triage_pictures(data, heat, model.image_size, model.aspect)
            # A path may not be valid Unicode, which Beam's string coder refuses.
            yield row.path.encode("utf-8", "surrogateescape"), pictures
        except BadImage:
            return


class ReportParts(beam.PTransform):
    """PTransform that collects the parts of the triage report from blocks of finished rows."""

    def __init__(self, run: ScoringRun, top: int):
        """Initialize the transform.

        Args:
            run: The scoring run.
            top: Number of images in the report.
        """
        super().__init__()
        self._run = run
        self._top = top

    def expand(self, blocks: beam.PCollection) -> dict[str, beam.PCollection]:
        """Collect the report parts from blocks of finished rows.

        Returns:
            `triage`: one Triage of all rows. `pictures`: (path as bytes, TriagePictures) for each of its top images,
            see `by_path`.
        """
        run = self._run
        collect = CollectTriage(run, self._top)
        triage = blocks | "Collect" >> beam.CombineGlobally(collect)
        pictures = (
            triage
            | "Top" >> beam.FlatMap(_top_rows)
            | "Share out" >> beam.Reshuffle()
            | "Pictures" >> beam.ParDo(_MakePictures(run))
        )
        return {"triage": triage, "pictures": pictures}


def file_of(row: ScoreRow) -> SourceFile:
    """Return the listed file that a row describes."""
    record, member = (row.place, None) if isinstance(row.place, RecordPlace) else (None, row.place)
    return SourceFile(row.path, row.relative, row.size, member, row.version, record)


def by_path(pictures: Mapping[bytes, TriagePictures]) -> dict[str, TriagePictures]:
    """Return the output `pictures` of ReportParts as a dict keyed by path, decoded to text."""
    return {path.decode("utf-8", "surrogateescape"): made for path, made in pictures.items()}


def _top_rows(triage: Triage) -> list[ScoreRow]:
    return list(triage.top)
