"""Save and restore everything an interrupted run needs to continue exactly where it was.

One checkpoint holds everything: model, optimizer, the state of dropout's random generators, the weights of the kept
epoch, and the figures of the run (the history, hence best epoch and patience; the step within the epoch, hence the
position in the input; the sums of the epoch so far). All of it changes at once, so a run killed at any moment returns
to one of its checkpoints as a whole. Checkpoints are taken between two steps. No prefetched example is lost, because
the input is a function of the step.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from pipelines.common.cli import UsageError, first_line
from pipelines.common.full_disk import disk_full, no_room

KEPT = 2


@dataclass(frozen=True)
class EpochRecord:
    """One entry of history.json."""

    epoch: int  # from 1
    loss: float  # in nats
    val_loss: float  # in nats
    val_balanced_accuracy: float
    image_size: int  # side of training and validation images in pixels
    learning_rate: float  # at the last step of the epoch
    images_per_second: float
    seconds: float


@dataclass
class RunState(tf.train.experimental.PythonState):
    """Figures of a run so far, saved in the checkpoint as JSON (which keeps every bit of a float)."""

    history: list[EpochRecord] = field(default_factory=list)
    # Of the unfinished epoch: steps done, sums over them, time spent.
    step: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0
    seconds: float = 0.0

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return len(self.history)

    @property
    def best(self) -> EpochRecord | None:
        """Epoch with the highest validation balanced accuracy; among equals the one with the lower loss.

        Only epochs on the largest images so far are considered. None before the first epoch has ended.
        """

        def merit(record: EpochRecord) -> tuple[float, ...]:
            return record.image_size, record.val_balanced_accuracy, -record.val_loss

        return max(self.history, key=merit, default=None)

    def finished(self, epochs: int, patience: int, image_size: int) -> bool:
        """Return whether all epochs are done or patience has run out.

        Args:
            epochs: Number of epochs of the run.
            patience: Epochs since the best one after which the run ends; 0: no limit.
            image_size: Side of the dataset's images in pixels; patience begins with the first epoch on images of this
                size.
        """
        best = self.best
        stale = best is not None and best.image_size >= image_size and 0 < patience <= self.epoch - best.epoch
        return self.epoch >= epochs or stale

    def add_step(self, loss: float, weight: float) -> None:
        """Add the sums of one step.

        Steps are added one by one and in order, so that no interruption in between changes the last bit.

        Args:
            loss: Weighted losses of the step's examples.
            weight: Weights of these examples.
        """
        self.step += 1
        self.loss_sum += loss
        self.weight_sum += weight

    def end_epoch(self, record: EpochRecord) -> None:
        """Add the record of a finished epoch and reset the figures of the unfinished one."""
        self.history.append(record)
        self.step, self.loss_sum, self.weight_sum, self.seconds = 0, 0.0, 0.0, 0.0

    def serialize(self) -> str:
        """Return the state as JSON; tf.train.Checkpoint calls this when it saves."""
        return json.dumps(asdict(self))

    def deserialize(self, string_value: str | bytes) -> None:
        """Set the state from JSON; tf.train.Checkpoint calls this when it restores."""
        values = json.loads(string_value)
        self.history = [EpochRecord(**record) for record in values.pop("history")]
        for name, value in values.items():
            setattr(self, name, value)


class RunCheckpoints:
    """Checkpoints of a run: the means to save and restore it."""

    def __init__(
        self,
        directory: Path | None,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        averaged: keras.Model | None = None,
        keep: str = "best",
    ):
        """Prepare the checkpoints of a run; `restore` loads one.

        Args:
            directory: Directory of the checkpoints; None on all workers but the chief, who alone reads and writes
                there.
            model: Network that is trained; must be built.
            optimizer: Optimizer of the network; must be built.
            averaged: Model whose weights are the average of `model`'s, if there is one; an epoch's weights are then
                these.
            keep: Epoch whose weights are kept for export, `best` or `last`.
        """
        self.state = RunState()
        self._validated = averaged or model
        self._keep = keep
        self._kept = [tf.Variable(weight.numpy(), trainable=False) for weight in model.weights]
        # Plain lists in a fixed order. `model.variables`, unlike `weights`, includes dropout's generators.
        lists = {"model": list(model.variables), "optimizer": list(optimizer.variables), "kept": self._kept}
        if averaged:
            lists["averaged"] = list(averaged.weights)
        self._variables = [variable for variables in lists.values() for variable in variables]
        self._directory = directory
        self._checkpoint = tf.train.Checkpoint(**lists, state=self.state)
        self._manager = (
            None
            if directory is None
            else tf.train.CheckpointManager(self._checkpoint, str(directory), max_to_keep=KEPT)
        )

    def restore(self, share: Callable[[bytes | None], bytes | None]) -> bool:
        """Restore the newest checkpoint, if there is one.

        Args:
            share: Returns the chief's bytes on every worker, so that the others need not see the directory.

        Returns:
            Whether there was a checkpoint; the same on all workers.
        """
        payload = None
        if self._manager is not None and self._manager.latest_checkpoint:
            self._checkpoint.restore(self._manager.latest_checkpoint).assert_existing_objects_matched()
            payload = self._pack()
        payload = share(payload)
        if payload and self._manager is None:
            self._unpack(payload)
        return bool(payload)

    def check_room(self) -> None:
        """Raise UsageError unless there is space for the checkpoints to keep and one more, and they can be written.

        Raises:
            UsageError: If the directory cannot be written or the space is too small.
        """
        if self._directory is None:
            return
        needed = sum(variable.numpy().nbytes for variable in self._variables) * (KEPT + 1)
        require_room(self._directory, needed)

    def end_epoch(self, record: EpochRecord) -> bool:
        """Add the record of an epoch, and keep its weights if it is the one to keep.

        Returns:
            Whether the epoch is the best so far.
        """
        self.state.end_epoch(record)
        if self.kept_epoch is record:
            for kept, weight in zip(self._kept, self._validated.weights, strict=True):
                kept.assign(weight.numpy())
        return self.state.best is record

    @property
    def kept_epoch(self) -> EpochRecord:
        """Epoch whose weights are kept."""
        best = self.state.best
        assert best is not None, "no epoch has ended"
        return best if self._keep == "best" else self.state.history[-1]

    def save(self, step: int) -> None:
        """Write a checkpoint named after the global step; do nothing on workers other than the chief.

        Raises:
            DiskFullError: If there is no room for it.
            UsageError: If the checkpoint cannot be written.
        """
        if self._manager is None:
            return
        try:
            self._manager.save(checkpoint_number=step)
        except (OSError, tf.errors.OpError) as error:
            if disk_full(error):
                needed = sum(variable.numpy().nbytes for variable in self._variables)
                raise no_room(str(self._directory), needed) from error
            raise UsageError(
                f"--output: no checkpoint can be written to {self._directory} ({first_line(error)}); mend that, and "
                "the same command continues from the last one"
            ) from None

    def kept_weights(self) -> list[np.ndarray]:
        """Return the weights of the kept epoch, in the order of `model.weights`."""
        return [weight.numpy() for weight in self._kept]

    def digest(self) -> str:
        """Return the sha256 (64 hex digits) of everything that training changes, which is the same on all workers."""
        digest = hashlib.sha256()
        for variable in self._variables:
            digest.update(variable.numpy().tobytes())
        return digest.hexdigest()

    def _pack(self) -> bytes:
        buffer = io.BytesIO()
        arrays = {str(index): variable.numpy() for index, variable in enumerate(self._variables)}
        np.savez(buffer, state=np.array(self.state.serialize()), **arrays)
        return buffer.getvalue()

    def _unpack(self, payload: bytes) -> None:
        with np.load(io.BytesIO(payload)) as arrays:
            self.state.deserialize(str(arrays["state"]))
            for index, variable in enumerate(self._variables):
                variable.assign(arrays[str(index)])


def require_room(directory: Path, needed: int) -> None:
    """Create a directory and raise UsageError unless it can be written and has enough space.

    Args:
        directory: Directory for checkpoints.
        needed: Bytes that must be free.

    Raises:
        UsageError: If the directory cannot be written or the space is too small.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as probe:
            probe.write(b"0" * 4096)
            probe.flush()
        free = shutil.disk_usage(directory).free
    except OSError as error:
        raise UsageError(
            f"--output: {directory} cannot be written ({error.strerror}); give another directory"
        ) from None
    if free < needed:
        raise UsageError(
            f"--output: {directory} has room for {free / 1e6:.0f} MB, and checkpoints take {needed / 1e6:.0f} MB; "
            "make room or give another directory"
        )
