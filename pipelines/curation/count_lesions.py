"""Count the images of each lesion id, to find those that name very many: often they stand for nothing."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from pipelines.dataset.frequent_lesions import frequent_among
from pipelines.dataset.image_row import ImageRow

# Most ids that are said.
_SHOWN = 20


class FrequentLesions(beam.PTransform):
    """PTransform: rows, one for each image -> one list, see `frequent_among`."""

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[list[dict[str, Any]]]:
        """Count the images of each lesion id."""
        counts = (
            rows
            | "Lesion ids" >> beam.FlatMap(lambda row: row.lesion_ids)
            | "Images of each" >> beam.combiners.Count.PerElement()
            | "Most images" >> beam.combiners.Top.Of(_SHOWN, key=lambda count: (count[1], count[0]))
        )
        images = rows | "Images" >> beam.combiners.Count.Globally()
        return counts | "Frequent" >> beam.Map(frequent_among, beam.pvalue.AsSingleton(images))
