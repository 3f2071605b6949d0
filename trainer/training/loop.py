"""Train epoch by epoch: train, validate, log and save, until all epochs are done or patience has run out."""

from __future__ import annotations

import math
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.special import log_softmax
from sklearn.metrics import balanced_accuracy_score

from pipelines.common.cli import UsageError
from pipelines.domain.decision_rule import decision_values
from trainer.config.options import TrainOptions
from trainer.data.dataset_info import DatasetInfo
from trainer.data.input_pipeline import Batching, evaluation_stream, steps_per_epoch, train_stream
from trainer.data.mixup import make_mixer
from trainer.data.preprocessing import Preprocessing
from trainer.data.progressive_resizing import size_of_epoch
from trainer.data.record_reader import RecordReader
from trainer.distribution.cluster import ALONE
from trainer.distribution.coordination import WorkerConnections
from trainer.distribution.preemption import Preemption, RestartError
from trainer.network.model import ModelConfig, build_model, precision
from trainer.training.checkpoint import EpochRecord, RunCheckpoints, RunState
from trainer.training.losses import (
    class_log_priors,
    class_weights,
    make_loss,
    photographed_prior,
    photographed_shift,
    smoothing_of,
)
from trainer.training.optimizer import learning_rate_schedule, make_average, make_optimizer
from trainer.training.steps import TrainStep, make_predict, make_train_step

# Steps that may be in flight while the figures of earlier ones are read, so that a GPU never waits for Python.
IN_FLIGHT = 2


def model_config(options: TrainOptions, preprocessing: Preprocessing) -> ModelConfig:
    """Return the network configuration that the options describe.

    Args:
        options: Options of the run.
        preprocessing: Source of the pixel statistics, which a backbone and colour constancy need.
    """
    common: dict[str, Any] = {"dropout": options.dropout, "colour_constancy": options.colour_constancy}
    if options.backbone or options.colour_constancy:
        common["pixel_mean"], common["pixel_std"] = preprocessing.pixel_statistics()
    if options.backbone:
        return ModelConfig(backbone=options.backbone, **common)
    return ModelConfig(
        **common,
        block=options.block,
        width=options.width,
        depth=options.depth,
        normalisation=options.batch_norm,
        squeeze_excite=options.squeeze_excite,
    )


def validation_figures(logits: np.ndarray, labels: np.ndarray, prior: np.ndarray) -> tuple[float, float]:
    """Return the loss and the balanced accuracy of predictions.

    Args:
        logits: float [n, C].
        labels: int [n].
        prior: float [C], the class frequencies that the logits stand for; see `decision_values` for which class is
            predicted.

    Returns:
        The mean cross-entropy in nats, and the balanced accuracy over the classes that occur.
    """
    log_p = log_softmax(logits.astype(np.float64), axis=1)
    decisions = decision_values(np.exp(log_p), prior)
    with warnings.catch_warnings():
        # In a small validation split it is normal that a predicted class does not occur.
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        accuracy = balanced_accuracy_score(labels, decisions.argmax(axis=1))
    return float(-log_p[np.arange(len(labels)), labels].mean()), float(accuracy)


@dataclass(frozen=True)
class Reporter:
    """Callbacks for the progress of a run; by default they do nothing."""

    # After each step: state of the run, steps per epoch.
    on_step: Callable[[RunState, int], None] = lambda state, steps: None
    # Before each checkpoint, on the chief.
    before_save: Callable[[], None] = lambda: None
    # After each checkpoint within an epoch: state of the run, steps per epoch.
    on_save: Callable[[RunState, int], None] = lambda state, steps: None
    # After each epoch: its record, whether it is the best so far, all records so far.
    on_epoch: Callable[[EpochRecord, bool, list[EpochRecord]], None] = lambda record, improved, history: None


@dataclass(frozen=True)
class WorkerContext:
    """Links of a run to its surroundings."""

    connections: WorkerConnections = field(default_factory=lambda: WorkerConnections(ALONE))  # the other workers
    preemption: Preemption = field(default_factory=Preemption)  # request to end this process


def fit(
    options: TrainOptions,
    info: DatasetInfo,
    preprocessing: Preprocessing,
    strategy: tf.distribute.Strategy,
    output: Path | None,
    reporter: Reporter,
    worker: WorkerContext | None = None,
) -> tuple[RunCheckpoints, bool]:
    """Train to the end, from the newest checkpoint under output/checkpoints if there is one.

    TensorBoard logs go to output/logs.

    Args:
        options: Options of the run.
        info: Prepared dataset.
        preprocessing: Preprocessing graphs of the dataset.
        strategy: Strategy to train with.
        output: Output directory; None on all workers but the chief.
        reporter: Callbacks for the progress.
        worker: Links to the surroundings; None: no other workers.

    Returns:
        The checkpoints of the run with the weights to export, and whether the run was continued from a checkpoint.

    Raises:
        DiskFullError: If there is no room for a checkpoint.
        UsageError: If the loss is no longer a finite number, or a checkpoint cannot be written.
        RestartError: If the run was told to end and has saved.
    """
    worker = worker or WorkerContext()
    steps = steps_per_epoch(info.split("train"), options.batch_size)
    synchronized = strategy.num_replicas_in_sync > 1
    with strategy.scope(), precision(options.mixed_precision):
        config = model_config(options, preprocessing)
        model = build_model(config, None, len(info.classes), synchronized, options.weights)
        averaged = None
        if options.average:
            averaged = build_model(config, None, len(info.classes), synchronized)
            averaged.set_weights(model.get_weights())
        optimizer = make_optimizer(options, steps, model)
    checkpoints = RunCheckpoints(output and output / "checkpoints", model, optimizer, averaged, options.keep)
    checkpoints.check_room()
    resumed = checkpoints.restore(worker.connections.broadcast)
    state = checkpoints.state

    log_priors = class_log_priors(info)
    train_step = make_train_step(
        strategy,
        model,
        optimizer,
        make_loss(options.loss, log_priors),
        class_weights(info, options.class_weights),
        smoothing_of(options.loss, options.label_smoothing, log_priors),
        options.batch_size,
        options.clip_norm,
        options.accumulate,
        options.jit,
        make_average(strategy, model, averaged, options.average) if averaged else None,
    )
    predict = make_predict(strategy, averaged or model)
    shift = photographed_shift(info, options.loss, options.class_weights)
    batches = _Input(options, info, preprocessing, strategy)
    schedule = learning_rate_schedule(options, steps)
    worker.preemption.defer()
    writer = tf.summary.create_file_writer(str(output / "logs")) if output else None
    size = 0
    while not state.finished(options.epochs, options.patience, info.image_size):
        epoch = state.epoch
        if size != (size := size_of_epoch(options.progressive, epoch, options.epochs, info.image_size)):
            train = batches.train(epoch * steps + state.step, size)
            validation = batches.validation(size)
        started = time.perf_counter() - state.seconds

        def save(epoch: int = epoch, started: float = started) -> None:
            state.seconds = time.perf_counter() - started
            reporter.before_save()
            checkpoints.save(epoch * steps + state.step)
            reporter.on_save(state, steps)

        told_to_end = train_epoch(
            train_step, train, steps, options.checkpoint_steps, state, worker.preemption, save, reporter
        )
        seconds = time.perf_counter() - started
        loss = state.loss_sum / max(state.weight_sum, 1e-12)
        logits, labels = predict(validation, steps_per_epoch(info.split("validation"), options.batch_size))
        val_loss, accuracy = validation_figures(logits + shift, labels, photographed_prior(info))
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
            image_size=size,
            # The rate of the last step; `optimizer.learning_rate` is already that of the next one.
            learning_rate=float(schedule(optimizer.iterations.numpy() - 1)),
            images_per_second=info.split("train").examples / seconds,
            seconds=time.perf_counter() - started,
        )
        improved = checkpoints.end_epoch(record)
        if writer:
            _log(writer, record)
        reporter.before_save()
        checkpoints.save(state.epoch * steps)
        reporter.on_epoch(record, improved, state.history)
        if told_to_end and not state.finished(options.epochs, options.patience, info.image_size):
            raise RestartError(f"told to end (SIGTERM); saved after epoch {state.epoch}; the same command continues")
    if writer:
        writer.close()
    return checkpoints, resumed


class _Input:
    """Endless iterators over distributed batches of both splits."""

    def __init__(
        self, options: TrainOptions, info: DatasetInfo, preprocessing: Preprocessing, strategy: tf.distribute.Strategy
    ):
        self._options = options
        self._preprocessing = preprocessing
        self._distribute = strategy.distribute_datasets_from_function
        self._train = RecordReader(info, info.split("train"), options.cache)
        self._validation = RecordReader(info, info.split("validation"), options.cache)

    def _batching(self, context: tf.distribute.InputContext) -> Batching:
        return Batching.of_pipeline(context, self._options.batch_size, self._options.accumulate)

    def train(self, first_step: int, size: int) -> Iterator[Any]:
        """Return training batches from a global step on, with images of `size` px."""
        mix = make_mixer(self._options.mix, self._options.mix_alpha)
        augmented = self._options.augment != "none"

        def stream(context: tf.distribute.InputContext) -> tf.data.Dataset:
            divided = self._batching(context)
            seed = self._options.seed
            return train_stream(
                self._train, self._preprocessing, divided, seed, first_step, augmented=augmented, mix=mix, size=size
            )

        return iter(self._distribute(stream))

    def validation(self, size: int) -> Iterator[Any]:
        """Return validation batches, pass after pass, with images of `size` px."""

        def stream(context: tf.distribute.InputContext) -> tf.data.Dataset:
            return evaluation_stream(self._validation, self._preprocessing, self._batching(context), size)

        return iter(self._distribute(stream))


def train_epoch(
    train_step: TrainStep,
    batches: Iterator[Any],
    steps: int,
    checkpoint_steps: int,
    state: RunState,
    preemption: Preemption,
    save: Callable[[], None],
    reporter: Reporter,
) -> bool:
    """Train the rest of an epoch, from `state.step` on.

    A worker may be told to end. All workers then save and end after the same step; in the last steps of an epoch they
    finish it instead.

    Args:
        train_step: Result of `make_train_step`.
        batches: Distributed batches, the next of which is that of step `state.step`.
        steps: Steps per epoch.
        checkpoint_steps: Save after so many steps; 0: not within the epoch.
        state: State of the run, which is updated.
        preemption: Request to end this process.
        save: Writes a checkpoint.
        reporter: Callbacks for the progress.

    Returns:
        Whether any worker was told to end in the last steps of the epoch; the same on all workers.

    Raises:
        RestartError: If any worker was told to end earlier in the epoch, after a checkpoint.
    """
    in_flight: deque[tf.Tensor] = deque()
    done = state.step
    stop = False

    def collect(waiting: int) -> None:
        """Read the figures of all steps but the last `waiting`, which are not waited for."""
        nonlocal stop
        while len(in_flight) > waiting:
            loss, weight, flags = (float(value) for value in in_flight.popleft().numpy())
            state.add_step(loss, weight)
            stop = stop or flags > 0
        reporter.on_step(state, steps)

    while done < steps and not stop:
        in_flight.append(train_step(next(batches), tf.constant(float(preemption.requested))))
        done += 1
        # All workers see the same figures after the same step, so they save and end after the same step.
        collect(IN_FLIGHT)
        # Not after the last step: its number, the name of the checkpoint, is needed at the end of the epoch.
        if done < steps and (stop or (checkpoint_steps and done % checkpoint_steps == 0)):
            collect(0)
            save()
            if stop:
                raise RestartError(
                    f"told to end (SIGTERM); saved after step {state.step} of {steps} in epoch {state.epoch + 1}; "
                    "the same command continues"
                )
    collect(0)
    return stop


def _log(writer: tf.summary.SummaryWriter, record: EpochRecord) -> None:
    with writer.as_default(step=record.epoch):
        tf.summary.scalar("loss/train", record.loss)
        tf.summary.scalar("loss/validation", record.val_loss)
        tf.summary.scalar("balanced_accuracy/validation", record.val_balanced_accuracy)
        tf.summary.scalar("learning_rate", record.learning_rate)
        tf.summary.scalar("images_per_second", record.images_per_second)
    writer.flush()
