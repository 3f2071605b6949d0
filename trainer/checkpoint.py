"""What an interrupted run needs to go on exactly where it was, and how it is kept on disk.

One checkpoint at the end of each epoch holds everything: model, optimizer, the state of dropout's random generators,
the best epoch's weights, and the run's own figures (history, best epoch). All of it changes at once, so a run
killed at any moment goes back to the end of an epoch as a whole.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

KEPT = 2


@dataclass(frozen=True)
class EpochRecord:
    """One line of history.json. `epoch` counts from 1; losses in nats; learning_rate at the epoch's last step."""

    epoch: int
    loss: float
    val_loss: float
    val_balanced_accuracy: float
    learning_rate: float
    images_per_second: float
    seconds: float


@dataclass
class RunState(tf.train.experimental.PythonState):
    """The figures of a run so far; travels inside the checkpoint as JSON (which keeps every bit of a float)."""

    history: list[EpochRecord] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.history)

    @property
    def best(self) -> EpochRecord | None:
        """The epoch with the highest validation balanced accuracy; of equal ones that with the lower loss."""
        return max(self.history, key=lambda record: (record.val_balanced_accuracy, -record.val_loss), default=None)

    def finished(self, epochs: int, patience: int) -> bool:
        """Whether all epochs are done, or `patience` of them (0: no limit) have passed since the best one."""
        stale = self.best is not None and 0 < patience <= self.epoch - self.best.epoch
        return self.epoch >= epochs or stale

    def serialize(self) -> str:
        return json.dumps([asdict(record) for record in self.history])

    def deserialize(self, string_value: str | bytes) -> None:
        self.history = [EpochRecord(**record) for record in json.loads(string_value)]


class RunCheckpoints:
    """Saves and restores a run under `directory`. Model and optimizer must be built."""

    def __init__(self, directory: Path, model: keras.Model, optimizer: keras.optimizers.Optimizer):
        self.state = RunState()
        self._model = model
        self._best = [tf.Variable(weight.numpy(), trainable=False) for weight in model.weights]
        # Plain lists in a fixed order. `model.variables`, unlike `weights`, has dropout's generators.
        checkpoint = tf.train.Checkpoint(
            model=list(model.variables), optimizer=list(optimizer.variables), best=self._best, state=self.state
        )
        self._checkpoint = checkpoint
        self._manager = tf.train.CheckpointManager(checkpoint, str(directory), max_to_keep=KEPT)

    def restore(self) -> bool:
        """Take up the newest checkpoint, if there is one; says whether there was."""
        if not self._manager.latest_checkpoint:
            return False
        self._checkpoint.restore(self._manager.latest_checkpoint).assert_existing_objects_matched()
        return True

    def save(self, record: EpochRecord) -> bool:
        """Add an epoch's record and save. Says whether it is the best so far (then its weights are kept)."""
        self.state.history.append(record)
        improved = self.state.best is record
        if improved:
            for kept, weight in zip(self._best, self._model.weights, strict=True):
                kept.assign(weight.numpy())
        self._manager.save(checkpoint_number=record.epoch)
        return improved

    def best_weights(self) -> list[np.ndarray]:
        """The weights of the best epoch, in the order of `model.weights`."""
        return [weight.numpy() for weight in self._best]
