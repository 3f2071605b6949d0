"""Input pipeline: TFRecord shards -> parsed examples -> normalised pixels -> batches.

Training input is a pure function of (seed, global step): step k of an epoch trains on the same examples with the same
augmentation, however many replicas share it and however often the run was interrupted. The order of an epoch is one
permutation of the whole split. Each reader takes its own rows of every global batch and reads no others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from pipelines.domain.dataset_json import Split
from trainer.data.augment import change, draw_changes, example_keys
from trainer.data.dataset_info import COMPRESSION_TYPES, DatasetInfo
from trainer.data.mixup import Mixer, unmixed
from trainer.data.preprocessing import Preprocessing
from trainer.data.record_reader import RecordReader

FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/key/sha256": tf.io.FixedLenFeature([], tf.string),
    "image/source_id": tf.io.FixedLenFeature([], tf.string),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64),
    "image/class/text": tf.io.FixedLenFeature([], tf.string),
    "image/lesion_id": tf.io.FixedLenFeature([], tf.string),
    "image/group_id": tf.io.FixedLenFeature([], tf.string),
    "image/augmentation/copy": tf.io.FixedLenFeature([], tf.int64),
}


@dataclass(frozen=True)
class Batching:
    """Division of global batches among parts, replicas and processes."""

    size: int  # examples in a global batch
    parts: int = 1  # parts of a batch, computed one after another (gradient accumulation)
    replicas: int = 1  # replicas that compute each part at once
    first: int = 0  # number of the first replica that this process feeds
    local: int = 1  # number of replicas that this process feeds

    @classmethod
    def of_pipeline(cls, context: tf.distribute.InputContext, size: int, parts: int) -> Batching:
        """Return how an input pipeline of a strategy divides the global batches.

        Args:
            context: The pipeline, as the strategy describes it.
            size: Examples in a global batch.
            parts: Parts of a batch, computed one after another.
        """
        local = context.num_replicas_in_sync // context.num_input_pipelines
        return cls(
            size=size,
            parts=parts,
            replicas=context.num_replicas_in_sync,
            first=context.input_pipeline_id * local,
            local=local,
        )

    @property
    def per_replica(self) -> int:
        """Examples of a global batch that one replica computes."""
        return self.size // self.replicas

    def rows(self, replica: tf.Tensor) -> tf.Tensor:
        """Return which rows of a global batch belong to a replica, part after part.

        Args:
            replica: int64 [], number of the replica.

        Returns:
            int64 [per_replica].
        """
        share = self.per_replica // self.parts
        starts = tf.range(self.parts, dtype=tf.int64) * (self.size // self.parts) + replica * share
        return tf.reshape(starts[:, tf.newaxis] + tf.range(share, dtype=tf.int64), [self.per_replica])


def parse_examples(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parse serialised examples.

    Args:
        serialized: string [N], each a tf.train.Example.

    Returns:
        The tensors named in FEATURES, each [N].
    """
    return tf.io.parse_example(serialized, FEATURES)


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Return the number of batches in one pass, including the last (perhaps partial) one."""
    return -(-split.examples // batch_size)


def train_stream(
    records: RecordReader,
    preprocessing: Preprocessing,
    batching: Batching,
    seed: int,
    first_step: int,
    augmented: bool = True,
    mix: Mixer = unmixed,
    size: int | None = None,
) -> tf.data.Dataset:
    """Return the batches of training, epoch after epoch without end.

    Each epoch has every example once, in an order drawn from (seed, epoch). Its last global batch is padded with
    examples of weight 0, which keeps shapes static and gives every replica the same amount of work.

    Args:
        records: Records of the train split.
        preprocessing: Preprocessing graphs of the dataset.
        batching: Division of the global batches.
        seed: Seed of order, augmentation and mixing.
        first_step: Global step to begin with; 0: the first step of the first epoch.
        augmented: Change the images randomly, see `trainer.data.augment`.
        mix: Mixes the images of a batch, see `trainer.data.mixup`.
        size: Side of the images in pixels; None: as in the dataset.

    Returns:
        A dataset of dicts, one for each local replica in turn: image float32 [b, S, S, 3], label int64 [b], partner
        int64 [b] and share float32 [b] (see `mixup`), weight float32 [b], where b is `batching.per_replica`
        and S is `size`.
    """
    steps = -(-records.count // batching.size)
    padded = steps * batching.size

    def order(epoch: tf.Tensor) -> tf.data.Dataset:
        shuffled = tf.random.experimental.stateless_shuffle(
            tf.range(records.count, dtype=tf.int64), seed=tf.stack([tf.constant(seed, tf.int64), epoch])
        )
        # The padding of the last batch is read, but has weight 0.
        filled = tf.gather(shuffled, tf.range(padded) % records.count)
        return tf.data.Dataset.from_tensor_slices(tf.reshape(filled, [steps, batching.size]))

    def draw(keys: tf.Tensor) -> dict[str, tf.Tensor]:
        return draw_changes(keys, size or preprocessing.image_size) if augmented else {}

    batches = tf.data.Dataset.counter(first_step // steps).flat_map(order).skip(first_step % steps)
    return _finish(_Source(records, preprocessing, batching, seed, size), batches, first_step, draw, mix)


def evaluation_stream(
    records: RecordReader, preprocessing: Preprocessing, batching: Batching, size: int | None = None
) -> tf.data.Dataset:
    """Return a split for inference inside the training loop: in file order, pass after pass.

    Args:
        records: Records of the split.
        preprocessing: Preprocessing graphs of the dataset.
        batching: Division of the global batches.
        size: Side of the images in pixels; None: as in the dataset.

    Returns:
        A dataset of dicts as `train_stream` gives them.
    """
    steps = -(-records.count // batching.size)
    positions = tf.reshape(tf.range(steps * batching.size, dtype=tf.int64) % records.count, [steps, batching.size])
    batches = tf.data.Dataset.from_tensor_slices(positions).repeat()
    return _finish(_Source(records, preprocessing, batching, 0, size), batches, 0, lambda keys: {}, unmixed)


def resized(images: tf.Tensor, size: int | None) -> tf.Tensor:
    """Resize images, smoothing them first where they become smaller.

    Args:
        images: float32 [N, S, S, 3].
        size: Side of the result in pixels; None: leave the images as they are.

    Returns:
        float32 [N, size, size, 3].
    """
    return images if size in (None, images.shape[1]) else tf.image.resize(images, [size, size], antialias=True)


def evaluation_batches(info: DatasetInfo, split: str, batch_size: int) -> tf.data.Dataset:
    """Return a split for evaluation, in file order; the last batch may be smaller.

    No preprocessing is needed, because the exported model holds it.

    Args:
        info: Dataset to read.
        split: Name of the split.
        batch_size: Examples per batch.

    Returns:
        A dataset of dicts with everything in FEATURES (`image/encoded` is the input of the exported model's `records`
        signature).
    """
    paths = list(map(str, info.paths(info.split(split))))
    records = tf.data.TFRecordDataset(paths, compression_type=COMPRESSION_TYPES[info.compression])
    return records.batch(batch_size).map(parse_examples, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


@dataclass(frozen=True)
class _Source:
    """What the batches of a stream are made from."""

    records: RecordReader
    preprocessing: Preprocessing
    batching: Batching
    seed: int
    size: int | None


def _finish(
    source: _Source,
    batches: tf.data.Dataset,
    first_step: int,
    draw: Callable[[tf.Tensor], dict[str, tf.Tensor]],
    mix: Mixer,
) -> tf.data.Dataset:
    """Turn positions of global batches into decoded batches of the local replicas, in parallel, prefetched.

    What is small is computed for a whole batch at once. Pixels are computed image by image: one image stays in the
    processor's cache from step to step, a batch does not.

    Args:
        source: Records, preprocessing and division of the batches.
        batches: int64 [B], positions of each global batch.
        first_step: Global step of the first of them.
        draw: Draws the changes of images from their keys, see `augment.draw_changes`; none: leave them as they are.
        mix: Mixes the images of a batch.
    """
    records, batching = source.records, source.batching
    steps = -(-records.count // batching.size)
    # Element j of the stream belongs to step j // local and to local replica j % local.
    first_element = first_step * batching.local

    def mine(positions: tf.Tensor) -> tf.data.Dataset:
        replicas = tf.range(batching.first, batching.first + batching.local, dtype=tf.int64)
        return tf.data.Dataset.from_tensor_slices(
            tf.map_fn(lambda replica: tf.gather(positions, batching.rows(replica)), replicas)
        )

    def describe(element: tf.Tensor, serialized: tf.Tensor) -> dict[str, Any]:
        examples = parse_examples(serialized)
        step = element // batching.local
        rows = (step % steps) * batching.size + batching.rows(batching.first + element % batching.local)
        copies = examples["image/augmentation/copy"]
        keys = example_keys(examples["image/key/sha256"], copies, source.seed, step // steps)
        return {
            "encoded": examples["image/encoded"],
            "label": examples["image/class/label"],
            "key": keys,
            "weight": tf.cast(rows < records.count, tf.float32),
            "changes": draw(keys),
        }

    def decode(row: dict[str, Any]) -> dict[str, tf.Tensor]:
        images = resized(source.preprocessing.normalise(row.pop("encoded")[tf.newaxis]), source.size)
        changes = {name: value[tf.newaxis] for name, value in row.pop("changes").items()}
        return {**row, "image": (change(images, **changes) if changes else images)[0]}

    def combine(rows: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {**mix(rows["image"], rows["label"], rows["key"]), "weight": rows["weight"]}

    options = tf.data.Options()
    options.deterministic = True
    read = records.batches(batches.flat_map(mine), batching.per_replica)
    stream = tf.data.Dataset.zip(tf.data.Dataset.counter(first_element), read).map(describe)
    stream = stream.unbatch().map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    stream = stream.batch(batching.per_replica, drop_remainder=True).map(combine)
    # If the stream is known to be endless, the workers need not agree before every step on whether there is more.
    stream = stream.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    return stream.prefetch(2 * batching.local).with_options(options)
