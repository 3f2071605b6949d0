"""Images that a dataset had once: they still decide the split of others of their lesion, and of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apache_beam as beam

from pipelines.beam.packed_groups import PackedCoGroupByKey
from pipelines.beam.table_io import ReadTable
from pipelines.curation.recorded_splits import RecordedImage, read_recorded
from pipelines.dataset.file_names import MANIFEST_FILES, PAST_FILES
from pipelines.dataset.image_row import PAST, ImageRow
from pipelines.storage import filesystem
from pipelines.storage.numbered_files import any_of


class ReadRecorded(beam.PTransform):
    """PTransform that reads the images that a dataset has or had, each with its split.

    Args:
        folder: The dataset.
    """

    def __init__(self, folder: str):
        super().__init__()
        self._folder = folder

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[RecordedImage]:
        """Turn the start of a pipeline into a RecordedImage per content."""
        return [
            begin | f"Of {kind}" >> ReadTable(filesystem.join(self._folder, any_of(files)), read_recorded)
            for kind, files in (("its manifest", MANIFEST_FILES), ("the past", PAST_FILES))
        ] | "Of all" >> beam.Flatten()


def _past_row(image: RecordedImage) -> ImageRow:
    return ImageRow(
        path="",
        relative=image.image_id,
        image_id=image.image_id,
        sha256=image.sha256,
        lesion_ids=image.lesion_ids,
        patient_ids=image.patient_ids,
        given_split=image.assignment.split,
        given_fold=image.assignment.fold,
        outcome=PAST,
    )


def _without(element: tuple[str, dict[str, Iterable]]) -> Iterator[ImageRow]:
    _, found = element
    if not found["rows"]:
        yield from map(_past_row, found["recorded"])


class FindAbsent(beam.PTransform):
    """PTransform: (RecordedImages, rows of distinct images) -> a row for each recorded image that is not among these.

    Such a row takes part in groups and splits, where it stands for an image that is gone or was rejected.
    """

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection[ImageRow]:
        """Compare by content."""
        recorded, rows = inputs
        return (
            {
                "recorded": recorded | "Recorded content" >> beam.Map(lambda image: (image.sha256, image)),
                "rows": rows | "Content" >> beam.Map(lambda row: (row.sha256, None)),
            }
            | "Join" >> PackedCoGroupByKey()
            | "Absent" >> beam.FlatMap(_without)
        )


def _left_out(element: tuple[str, dict[str, Iterable]]) -> Iterator[RecordedImage]:
    _, found = element
    files = list(found["files"])
    if any(split for split, *_ in files):
        return
    for image in found["recorded"]:
        # Its files may have been told what they show since.
        yield image._replace(
            lesion_ids=tuple(sorted({*image.lesion_ids, *(name for _, lesions, _ in files for name in lesions)})),
            patient_ids=tuple(sorted({*image.patient_ids, *(name for *_, patients in files for name in patients)})),
        )


class FindPast(beam.PTransform):
    """PTransform: (RecordedImages, finished rows ...) -> the RecordedImages without a split among these rows.

    They keep the split that they had.
    """

    def expand(self, inputs: tuple[beam.PCollection, ...]) -> beam.PCollection[RecordedImage]:
        """Compare by content."""
        recorded, *finished = inputs
        files = [
            rows | f"Files {number}" >> beam.FlatMap(_file_facts) for number, rows in enumerate(finished)
        ] | "All files" >> beam.Flatten()
        return (
            {
                "recorded": recorded | "Recorded content" >> beam.Map(lambda image: (image.sha256, image)),
                "files": files,
            }
            | "Join" >> PackedCoGroupByKey()
            | "Past" >> beam.FlatMap(_left_out)
        )


def _file_facts(row: ImageRow) -> Iterator[tuple[str, tuple[str, tuple[str, ...], tuple[str, ...]]]]:
    if row.sha256:
        yield row.sha256, (row.split, row.lesion_ids, row.patient_ids)
