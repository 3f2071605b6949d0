"""Tables of out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.domain.probability_table import class_names


def write_table(path: Path, classes: Sequence[str], rows: Sequence[tuple[str, str, Sequence[float]]]) -> Path:
    """Write (id, content hash, probabilities) as trainer.experiment would."""
    names, digests, probabilities = zip(*rows, strict=True) if rows else ((), (), ())
    columns = {"source_id": pa.array(names, pa.string()), "sha256": pa.array(digests, pa.string())}
    for index, name in enumerate(class_names(classes)):
        columns[f"probability_{name}"] = pa.array([row[index] for row in probabilities], pa.float32())
    pq.write_table(pa.table(columns), path)
    return path
