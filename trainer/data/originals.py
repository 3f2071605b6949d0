"""Read the originals of a split; TensorFlow is loaded only when they are read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from pipelines.common.cli import UsageError, first_line
from pipelines.imaging.tensorflow_runtime import start_tensorflow
from trainer.data.dataset_info import DatasetInfo

Result = TypeVar("Result")
# Decoding a batch keeps one core busy, the network all of them. Of two batches, one is decoded while the network works
# on the other; a third would only take memory.
_AT_ONCE = 2


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


def map_originals(
    info: DatasetInfo, split: str, batch_size: int, function: Callable[[Any], Result]
) -> Iterator[tuple[dict[str, Any], Result]]:
    """Call a function with the encoded images of batches, two batches at once.

    Args:
        info: Dataset to read.
        split: Name of the split.
        batch_size: Most images of a batch.
        function: Called in threads with `image/encoded`, bytes [b].

    Yields:
        Each batch of `read_originals`, in file order, and what the function returned for it.

    Raises:
        UsageError: See `read_originals`.
    """
    running: deque[tuple[dict[str, Any], Future[Result]]] = deque()
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for batch in read_originals(info, split, batch_size):
            if len(running) == _AT_ONCE:
                earlier, future = running.popleft()
                yield earlier, future.result()
            running.append((batch, threads.submit(function, batch["image/encoded"])))
        for earlier, future in running:
            yield earlier, future.result()
