"""Epoch by epoch: train, validate, log, save; until the epochs are done or patience has run out."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from scipy.special import log_softmax
from sklearn.metrics import balanced_accuracy_score

from pipelines.cli import UsageError
from trainer.checkpoint import EpochRecord, RunCheckpoints
from trainer.dataset import padded_batches, steps_per_epoch, train_batches
from trainer.dataset_info import DatasetInfo
from trainer.losses import class_weights
from trainer.model import ModelConfig, build_model
from trainer.optimizer import learning_rate_schedule, make_optimizer
from trainer.options import Options
from trainer.steps import make_predict, make_train_step
from trainer.transform import Preprocessing

# After each epoch: its record, whether it is the best so far, all records so far.
OnEpoch = Callable[[EpochRecord, bool, list[EpochRecord]], None]


def model_config(options: Options) -> ModelConfig:
    return ModelConfig(width=options.width, depth=options.depth, dropout=options.dropout)


def validation_figures(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """(mean cross-entropy in nats, balanced accuracy over the classes that occur) of logits [n, C], labels [n]."""
    log_p = log_softmax(logits.astype(np.float64), axis=1)
    with warnings.catch_warnings():
        # A class that is predicted but does not occur is no reason for alarm in a small validation split.
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        accuracy = balanced_accuracy_score(labels, logits.argmax(axis=1))
    return float(-log_p[np.arange(len(labels)), labels].mean()), float(accuracy)


def fit(
    options: Options,
    info: DatasetInfo,
    preprocessing: Preprocessing,
    strategy: tf.distribute.Strategy,
    output: Path,
    on_epoch: OnEpoch,
) -> tuple[RunCheckpoints, bool]:
    """Train to the end, from the newest checkpoint under output/checkpoints if there is one.

    Returns the run's state with its best weights, and whether it was taken up from a checkpoint. TensorBoard logs go
    to output/logs. Raises UsageError when the loss is no longer a finite number.
    """
    steps = steps_per_epoch(info.split("train"), options.batch_size)
    with strategy.scope():
        model = build_model(
            model_config(options), info.image_size, len(info.classes), synchronized=strategy.num_replicas_in_sync > 1
        )
        optimizer = make_optimizer(options, steps, model)
    checkpoints = RunCheckpoints(output / "checkpoints", model, optimizer)
    resumed = checkpoints.restore()

    schedule = learning_rate_schedule(options, steps)
    weights = class_weights(info, options.class_weights)
    train_step = make_train_step(
        strategy, model, optimizer, weights, options.batch_size, options.label_smoothing, options.clip_norm
    )
    predict = make_predict(strategy, model)
    validation = strategy.experimental_distribute_dataset(
        padded_batches(info, preprocessing, "validation", options.batch_size)
    )
    writer = tf.summary.create_file_writer(str(output / "logs"))
    state = checkpoints.state
    while not state.finished(options.epochs, options.patience):
        epoch = state.epoch
        started = time.perf_counter()
        batches = train_batches(
            info, preprocessing, options.batch_size, options.seed, epoch, augmented=options.augment != "none"
        )
        loss = _train_epoch(train_step, strategy.experimental_distribute_dataset(batches))
        seconds = time.perf_counter() - started
        val_loss, accuracy = validation_figures(*predict(validation))
        if not (math.isfinite(loss) and math.isfinite(val_loss)):
            raise UsageError(
                f"training diverged in epoch {epoch + 1} (loss {loss:g}): "
                f"lower --learning_rate {options.learning_rate:g}"
            )
        record = EpochRecord(
            epoch=epoch + 1,
            loss=loss,
            val_loss=val_loss,
            val_balanced_accuracy=accuracy,
            # Of the step just done; `optimizer.learning_rate` is that of the next one.
            learning_rate=float(schedule(optimizer.iterations.numpy() - 1)),
            images_per_second=info.split("train").examples / seconds,
            seconds=time.perf_counter() - started,
        )
        _log(writer, record)
        improved = checkpoints.save(record)
        on_epoch(record, improved, state.history)
    writer.close()
    return checkpoints, resumed


def _train_epoch(train_step, batches) -> float:
    """Mean loss of one pass. Sums stay on the device until the end, so that steps are not waited for one by one."""
    sums = [train_step(batch) for batch in batches]
    losses, weights = np.array(sums, np.float64).sum(axis=0)
    return float(losses / max(weights, 1e-12))


def _log(writer: tf.summary.SummaryWriter, record: EpochRecord) -> None:
    with writer.as_default(step=record.epoch):
        tf.summary.scalar("loss/train", record.loss)
        tf.summary.scalar("loss/validation", record.val_loss)
        tf.summary.scalar("balanced_accuracy/validation", record.val_balanced_accuracy)
        tf.summary.scalar("learning_rate", record.learning_rate)
        tf.summary.scalar("images_per_second", record.images_per_second)
    writer.flush()
