"""Choose the tf.distribute strategy of a run."""

from __future__ import annotations

import threading
from collections.abc import Callable

import tensorflow as tf

from pipelines.common.cli import EXIT_RESTART, UsageError, first_line
from trainer.config.options import TrainOptions
from trainer.distribution.cluster import ALONE, Cluster
from trainer.distribution.preemption import exit_process


def make_strategy(options: TrainOptions, cluster: Cluster = ALONE) -> tf.distribute.Strategy:
    """Return the strategy that `options.strategy` names.

    `mirrored` uses all GPUs, or without GPUs all logical CPUs (one, unless configured otherwise, which is how tests run
    several replicas on any machine). `multi_worker` uses all GPUs of all workers of TF_CONFIG.

    Raises:
        UsageError: If the batch cannot be split evenly over the devices, if the TPU cannot be used, or if --jit does
            not go with the strategy.
    """
    name = resolve(options, cluster)
    if name == "tpu":
        strategy = _tpu(options.tpu)
    elif name == "multi_worker":
        strategy = _bounded(tf.distribute.MultiWorkerMirroredStrategy, options.peer_timeout)
    else:
        devices = [device.name for device in _gpus() or tf.config.list_logical_devices("CPU")]
        strategy = (
            tf.distribute.MirroredStrategy(devices)
            if name == "mirrored"
            else tf.distribute.OneDeviceStrategy(devices[0])
        )
    replicas = strategy.num_replicas_in_sync
    # Both images of a mixed pair must be on the same replica.
    unit = replicas * options.accumulate * (1 if options.mix == "none" else 2)
    if options.batch_size % unit:
        parts = f" in {options.accumulate} parts" if options.accumulate > 1 else ""
        raise UsageError(
            f"--batch_size {options.batch_size} cannot be split over {replicas} devices{parts}: "
            f"give a multiple of {unit}"
        )
    if options.jit and name != "one_device":
        raise UsageError(
            f"--jit goes with --strategy one_device, not with {name}: leave it out (a TPU compiles anyway)"
        )
    return strategy


def resolve(options: TrainOptions, cluster: Cluster) -> str:
    """Return the name of the strategy, with `auto` replaced by what it means here."""
    if options.strategy != "auto":
        return options.strategy
    if cluster.size > 1:
        return "multi_worker"
    if options.tpu:
        return "tpu"
    return "mirrored" if len(_gpus()) > 1 else "one_device"


def _gpus() -> list[tf.config.LogicalDevice]:
    return tf.config.list_logical_devices("GPU")


def _tpu(name: str) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        if name != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        reason = first_line(error)
        raise UsageError(
            f"--tpu {name}: cannot be used ({reason}); give its name or address, or local on a TPU VM"
        ) from None


def _bounded(make: Callable[[], tf.distribute.Strategy], timeout: float) -> tf.distribute.Strategy:
    """Return `make()`, or end this process after `timeout` seconds.

    TensorFlow waits long for workers that died during its start.
    """
    message = f"the workers did not connect within {timeout:g} s (--peer_timeout); start all workers again"
    watchdog = threading.Timer(timeout, exit_process, (message, EXIT_RESTART))
    watchdog.daemon = True
    watchdog.start()
    try:
        return make()
    finally:
        watchdog.cancel()
