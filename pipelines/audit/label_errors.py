"""Find labels that are probably wrong by confident learning (Northcutt, Jiang and Chuang 2021, JAIR 70, 1373-1411).

Each image is judged by a network that was trained without it. A class has the mean of its own images' probabilities as
its threshold, so that neither rare classes nor hesitant networks are flagged for that alone. An image that reaches the
threshold of another class than its own lies off the diagonal of the paper's confident joint. The rule is cleanlab's
`find_label_issues(filter_by="confident_learning")`, which finds the same images: of several classes that are reached,
the likeliest class of all counts, and a label that is the likeliest class is never an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.audit.predictions import PARTS, prediction_key, read_predictions
from pipelines.beam.packed_groups import PackedCoGroupByKey
from pipelines.beam.tally import Tally
from pipelines.common.text import printable
from pipelines.dataset.image_row import ImageRow, Place, place_of


class Predicted(NamedTuple):
    """A labelled image and its out-of-fold prediction."""

    image_id: str
    place: Place
    label: int
    parts: tuple[int, ...]  # the probability of each class, in units of 1 / PARTS


class LabelError(NamedTuple):
    """An image whose label is probably wrong."""

    image_id: str
    place: Place
    label: str
    suggested: str
    of_label: int  # the probability of the label, in units of 1 / PARTS
    of_suggested: int


def tally_confidence(image: Predicted) -> Counter:
    """Return what an image adds to the totals that `label_error` needs: its count and its label's probability."""
    return Counter({("images", image.label): 1, ("parts", image.label): image.parts[image.label]})


def threshold(totals: Mapping[Any, int], label: int) -> float:
    """Return the mean probability that the images of a class have of it; there must be one."""
    return totals["parts", label] / (totals["images", label] * PARTS)


def _is_confident(image: Predicted, label: int, totals: Mapping[Any, int]) -> bool:
    images = totals.get(("images", label), 0)
    return images > 0 and image.parts[label] * images >= totals.get(("parts", label), 0)


def label_error(image: Predicted, totals: Mapping[Any, int], classes: Sequence[str]) -> Iterator[LabelError]:
    """Yield the image as a LabelError if its label is probably wrong.

    Args:
        image: The image.
        totals: The sum of `tally_confidence` over all images.
        classes: Class names in label order.
    """
    confident = [label for label in range(len(classes)) if _is_confident(image, label, totals)]
    likeliest = max(range(len(classes)), key=lambda label: (image.parts[label], label == image.label))
    if not confident or likeliest == image.label:
        return
    likely = confident[0] if len(confident) == 1 else likeliest
    if likely != image.label:
        yield LabelError(
            image.image_id,
            image.place,
            classes[image.label],
            classes[likely],
            image.parts[image.label],
            image.parts[likely],
        )


def error_order(error: LabelError) -> tuple[int, str, str]:
    """Return the sort key of a label error, which is unique: the least probable label comes first (self-confidence)."""
    return error.of_label, error.place.relative, error.place.path


def error_json(error: LabelError) -> dict[str, Any]:
    """Return a label error as audit.json and the list of label errors show it."""
    return {
        "id": error.image_id,
        "path": printable(error.place.path),
        "label": error.label,
        "suggested": error.suggested,
        "probability_of_label": round(error.of_label / PARTS, 4),
        "probability_of_suggested": round(error.of_suggested / PARTS, 4),
    }


class Compared(NamedTuple):
    """The PCollections that FindLabelErrors returns."""

    errors: beam.PCollection[LabelError]
    totals: beam.PCollection  # one Counter, the sum of `tally_confidence`


def _match(element: tuple[str, dict[str, Iterable]], classes: Sequence[str]) -> Iterator[Predicted]:
    for parts in element[1]["predictions"]:
        for row in element[1]["rows"]:
            yield Predicted(row.image_id, place_of(row), classes.index(row.label), parts)


class FindLabelErrors(beam.PTransform):
    """PTransform that compares the labels of images with out-of-fold predictions.

    Args:
        path: The table of predictions, see `predictions`; empty for none.
        classes: Class names in label order.
    """

    def __init__(self, path: str, classes: Sequence[str]):
        super().__init__()
        self._path = path
        self._classes = classes

    def expand(self, rows: beam.PCollection[ImageRow]) -> Compared:
        """Compare the labels of rows, one for each image."""
        if not self._path:
            pipeline = rows.pipeline
            return Compared(pipeline | "None" >> beam.Create([]), pipeline | "No totals" >> beam.Create([Counter()]))
        predictions = (
            rows.pipeline
            | "Table" >> beam.Create([self._path], reshuffle=False)
            | "Read" >> beam.FlatMap(read_predictions, self._classes)
        )
        predicted = (
            {
                "rows": rows | "By key" >> beam.Map(lambda row: (prediction_key(row.relative, row.sha256), row)),
                "predictions": predictions,
            }
            | "Join" >> PackedCoGroupByKey()
            | "Match" >> beam.FlatMap(_match, self._classes)
        )
        totals = predicted | "Confidence" >> beam.Map(tally_confidence) | "Thresholds" >> beam.CombineGlobally(Tally())
        errors = predicted | "Compare" >> beam.FlatMap(label_error, beam.pvalue.AsSingleton(totals), self._classes)
        return Compared(errors, totals)
