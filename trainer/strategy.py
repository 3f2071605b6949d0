"""Which tf.distribute strategy a run uses."""

from __future__ import annotations

import tensorflow as tf

from pipelines.cli import UsageError


def make_strategy(name: str, batch_size: int) -> tf.distribute.Strategy:
    """`auto`, `one_device` or `mirrored` -> a strategy. UsageError if the batch cannot be split evenly.

    auto: mirrored if TensorFlow sees several GPUs, else one_device. mirrored: over all GPUs, else over all logical CPUs
    (one, unless configured otherwise, which is how tests run several replicas on any machine).
    """
    gpus = tf.config.list_logical_devices("GPU")
    devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
    if name == "auto":
        name = "mirrored" if len(gpus) > 1 else "one_device"
    if name == "one_device":
        return tf.distribute.OneDeviceStrategy(devices[0])
    if name != "mirrored":
        raise UsageError(f"--strategy {name}: unknown; give auto, one_device or mirrored")
    if batch_size % len(devices):
        raise UsageError(
            f"--batch_size {batch_size} cannot be split over {len(devices)} devices: give a multiple of it"
        )
    return tf.distribute.MirroredStrategy(devices)
