"""Read the originals of a split; TensorFlow is loaded only when they are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.common.cli import UsageError, first_line
from pipelines.imaging.tensorflow_runtime import start_tensorflow
from trainer.data.dataset_info import DatasetInfo


def read_originals(info: DatasetInfo, split: str, batch_size: int) -> Iterator[dict[str, Any]]:
    """Yield batches of a split's originals, in file order.

    Yields:
        The features in `input_pipeline.FEATURES`, each a numpy array [b].

    Raises:
        UsageError: Files are damaged, or hold another number of originals than dataset.json says.
    """
    start_tensorflow()
    import tensorflow as tf

    from trainer.data.input_pipeline import evaluation_batches

    read, expected = 0, info.split(split).originals
    try:
        for batch in evaluation_batches(info, split, batch_size):
            values = {key: value.numpy() for key, value in batch.items()}
            original = values["image/augmentation/copy"] == 0
            if original.any():
                read += int(original.sum())
                yield {key: value[original] for key, value in values.items()}
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        raise UsageError(
            f"--dataset {info.path}: the {split} split cannot be read ({first_line(error)}); prepare it again"
        ) from None
    if read != expected:
        raise UsageError(
            f"--dataset {info.path}: the {split} split holds {read} originals, dataset.json says {expected}; "
            "prepare it again"
        )
