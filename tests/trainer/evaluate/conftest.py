"""One small evaluation of stored predictions, whose result the tests of its report share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.simulated_predictions import CLASSES, simulate
from trainer.evaluate.command import run
from trainer.evaluate.options import EvaluateOptions
from trainer.evaluate.predictions import GroundTruth, Predictions, write_predictions
from trainer.metrics.metrics import predict

IMAGES = 90


@pytest.fixture(scope="session")
def predictions() -> Predictions:
    """Predictions for IMAGES images of which pairs show one lesion."""
    labels, probabilities, groups = simulate(IMAGES, 3, 0.6, seed=11, photographs=2)
    ids = [f"ISIC_{number:07}" for number in range(IMAGES)]
    truth = GroundTruth(
        source_id=ids,
        sha256=[f"{number:064x}" for number in range(IMAGES)],
        lesion_id=[f"IL_{group}" for group in groups],
        group_id=[f"IL_{group}" for group in groups],
        labels=labels,
    )
    return Predictions(truth, probabilities.astype(np.float32), None, np.full(3, 1 / 3), "one_view")


@pytest.fixture(scope="session")
def stored(predictions: Predictions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The predictions as a table, as an evaluation writes it."""
    path = tmp_path_factory.mktemp("stored") / "predictions.parquet"
    write_predictions(predictions, predict(predictions.probabilities), CLASSES, "m" * 64, path)
    return path


@pytest.fixture(scope="session")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Age, sex and body site of all images but the first."""
    rows = [
        f"ISIC_{number:07},{30 + number % 50},{'female' if number % 3 else 'male'},torso" for number in range(1, 90)
    ]
    path = tmp_path_factory.mktemp("metadata") / "metadata.csv"
    path.write_text("\n".join(["isic_id,age_approx,sex,anatom_site_1", *rows]) + "\n")
    return path


@pytest.fixture(scope="session")
def evaluated(stored: Path, metadata: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The output directory of an evaluation, and the content of its evaluation.json."""
    output = tmp_path_factory.mktemp("evaluated") / "out"
    options = EvaluateOptions(predictions=str(stored), metadata=(str(metadata),), output=str(output), bootstrap=30)
    return output, run(options)
