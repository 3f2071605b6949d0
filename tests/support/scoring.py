"""A model to score with, without training, and what a run has written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pipelines.domain.decision_rule import EIGHT_VIEWS, ONE_VIEW, OperatingPoint
from tests.support.tiny_dataset import SIZE, draw, jpeg

# What a training run would have fitted.
TEMPERATURE = 1.7
POINTS = {
    views: [OperatingPoint(target, threshold, target, 0.5, 40, 60)._asdict() for target, threshold in chosen.items()]
    for views, chosen in ((ONE_VIEW, {0.9: 0.03, 0.95: 0.01}), (EIGHT_VIEWS, {0.9: 0.04, 0.95: 0.02}))
}


def export_untrained(dataset: Path, folder: Path, seed: int) -> Path:
    """A model with random weights for the classes of a dataset; its scores differ from image to image."""
    from trainer.data.dataset_info import read_dataset_info
    from trainer.data.preprocessing import Preprocessing
    from trainer.export.saved_model import export_model
    from trainer.export.train_images import train_images_of
    from trainer.network.model import ModelConfig, build_model

    info = read_dataset_info(dataset)
    config = ModelConfig(width=0.25, depth=1)
    random = np.random.default_rng(seed)

    def drawn(weight: Any) -> np.ndarray:
        if not weight.path.endswith("kernel"):
            return weight.numpy()
        # As wide as keeps signals of one size through the layers (He et al. 2015); depthwise kernels see one channel.
        inputs = np.prod(weight.shape[:2] if "depthwise" in weight.path else weight.shape[:-1])
        return random.normal(0, np.sqrt(2 / inputs), weight.shape).astype(np.float32)

    weights = [drawn(weight) for weight in build_model(config, info.image_size, len(info.classes)).weights]
    metrics = {"validation": {"balanced_accuracy": 0.5}}
    calibration = {"temperature": TEMPERATURE, "prior": {name: 1 / len(info.classes) for name in info.classes}}
    export_model(
        folder, info, Preprocessing(info), config, weights, metrics, calibration, POINTS, train_images_of(info)
    )
    return folder


def write_images(folder: Path, count: int, first: int = 0, size: int = 3 * SIZE) -> list[Path]:
    """JPEGs of made lesions, some in a subfolder."""
    (folder / "more").mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(first, first + count):
        path = folder / ("more" if index % 5 == 0 else ".") / f"ISIC_{index:07d}.jpg"
        path.write_bytes(jpeg(draw(index % 4, index, size)))
        paths.append(path)
    return paths


def scores(partition: Path) -> list[dict]:
    """All rows of a run's Parquet files."""
    return [row for path in sorted(partition.glob("scores-*.parquet")) for row in pq.read_table(path).to_pylist()]


def rejects(partition: Path) -> list[dict]:
    """All lines of a run's rejects files."""
    return [json.loads(line) for path in partition.glob("_rejects-*.jsonl") for line in path.read_text().splitlines()]


def probabilities(row: dict, classes: Sequence[str], suffix: str = "") -> np.ndarray:
    """A row's probabilities in label order."""
    return np.array([row[f"probability_{name.replace(' ', '_')}{suffix}"] for name in classes])


def model_json(model: Path) -> dict:
    """What a model says of itself."""
    return json.loads((model / "assets" / "model.json").read_text())


def only_partition(output: Path) -> Path:
    """The one run in an output."""
    (partition,) = output.glob("run=*")
    return partition
