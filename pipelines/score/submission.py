"""Write scores as a submission to an ISIC challenge: the CSV that the command `isic-challenge-scoring` accepts.

That command expects the columns and images of the ground truth, each image once, and numbers from 0 to 1 with a decimal
point.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

import numpy as np

from pipelines.common.text import printable
from pipelines.domain.decision_rule import decision_values
from pipelines.score.challenge import Challenge
from pipelines.score.columns import probability_matrix
from pipelines.score.score_row import ScoreRow, ScoringRun


def submission_bytes(rows: Iterable[ScoreRow], run: ScoringRun, challenge: Challenge) -> bytes:
    """Return the submission as CSV.

    The CSV has one line per image id, sorted. Of several files with one id, the one with the smallest path counts.

    Args:
        rows: Scored rows in any order.
        run: The run that they belong to.
        challenge: What `challenge_for` returned for the run's classes.

    Raises:
        ValueError: A row has no probabilities, or one that is not finite.
    """
    chosen: dict[str, ScoreRow] = {}
    for row in rows:
        chosen[row.image_id] = min(chosen.get(row.image_id, row), row, key=lambda one: one.path)
    kept = [chosen[image_id] for image_id in sorted(chosen)]
    # The challenges score the balanced accuracy of the class with the largest value.
    values = decision_values(probability_matrix(kept, run), run.prior)
    # Rounding can push a sum above 1, which the scorer refuses. float32 prints with the fewest digits that restore it.
    sums = [values[:, list(labels)].sum(axis=1) for labels in challenge.labels]
    columns = np.minimum(np.stack(sums, axis=1), 1.0).astype(np.float32)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("image", *challenge.columns))
    writer.writerows((printable(row.image_id), *map(str, line)) for row, line in zip(kept, columns, strict=True))
    return buffer.getvalue().encode()
