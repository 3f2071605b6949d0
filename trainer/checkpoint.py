"""What an interrupted run needs to go on exactly where it was, and how it is kept on disk.

One checkpoint holds everything: model, optimizer, the state of dropout's random generators, the kept epoch's weights,
and the run's own figures (history, so best epoch and patience; the step within the epoch, so the input's position; the
sums of the epoch so far). All of it changes at once, so a run killed at any moment goes back to one of its checkpoints
as a whole. They are taken between two steps, in which no prefetched example is lost: input is a function of the step.
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

from pipelines.cli import UsageError, first_line

KEPT = 2


@dataclass(frozen=True)
class EpochRecord:
    """One line of history.json.

    `epoch` counts from 1; losses in nats; learning_rate at the epoch's last step; image_size in pixels, of training and
    validation images.
    """

    epoch: int
    loss: float
    val_loss: float
    val_balanced_accuracy: float
    image_size: int
    learning_rate: float
    images_per_second: float
    seconds: float


@dataclass
class RunState(tf.train.experimental.PythonState):
    """The figures of a run so far; travels inside the checkpoint as JSON (which keeps every bit of a float).

    step, loss_sum, weight_sum, seconds: of the unfinished epoch: steps done, sums over them, time spent.
    """

    history: list[EpochRecord] = field(default_factory=list)
    step: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0
    seconds: float = 0.0

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.history)

    @property
    def best(self) -> EpochRecord | None:
        """The epoch with the highest validation balanced accuracy; of equal ones that with the lower loss.

        Only those on the largest images so far come into question.
        """

        def merit(record: EpochRecord) -> tuple[float, ...]:
            return record.image_size, record.val_balanced_accuracy, -record.val_loss

        return max(self.history, key=merit, default=None)

    def finished(self, epochs: int, patience: int, image_size: int) -> bool:
        """Whether all epochs are done, or `patience` of them (0: no limit) have passed since the best one.

        Patience begins with the first epoch on images of `image_size` px, the dataset's.
        """
        best = self.best
        stale = best is not None and best.image_size >= image_size and 0 < patience <= self.epoch - best.epoch
        return self.epoch >= epochs or stale

    def add_step(self, loss: float, weight: float) -> None:
        """Count a step's sums. One by one and in order, so that no pause in between changes the last bit."""
        self.step += 1
        self.loss_sum += loss
        self.weight_sum += weight

    def end_epoch(self, record: EpochRecord) -> None:
        self.history.append(record)
        self.step, self.loss_sum, self.weight_sum, self.seconds = 0, 0.0, 0.0, 0.0

    def serialize(self) -> str:
        return json.dumps(asdict(self))

    def deserialize(self, string_value: str | bytes) -> None:
        values = json.loads(string_value)
        self.history = [EpochRecord(**record) for record in values.pop("history")]
        for name, value in values.items():
            setattr(self, name, value)


class RunCheckpoints:
    """Saves and restores a run. Model and optimizer must be built.

    directory: None on all workers but the chief, who alone reads and writes there.
    averaged: the model whose weights are the average of the other's, if there is one; these are then the epoch's.
    keep: which epoch's weights are kept for export, `best` or `last`.
    """

    def __init__(
        self,
        directory: Path | None,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        averaged: keras.Model | None = None,
        keep: str = "best",
    ):
        self.state = RunState()
        self._validated = averaged or model
        self._keep = keep
        self._kept = [tf.Variable(weight.numpy(), trainable=False) for weight in model.weights]
        # Plain lists in a fixed order. `model.variables`, unlike `weights`, has dropout's generators.
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
        """Take up the newest checkpoint, if there is one; says whether there was.

        share: gives every worker the chief's bytes; so the others need not see the directory.
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
        """Raise UsageError unless a checkpoint can be written and there is space for those to be kept, and one more."""
        if self._directory is None:
            return
        needed = sum(variable.numpy().nbytes for variable in self._variables) * (KEPT + 1)
        require_room(self._directory, needed)

    def end_epoch(self, record: EpochRecord) -> bool:
        """Add an epoch's record, and keep its weights if it is the one to keep. Says whether it is the best so far."""
        self.state.end_epoch(record)
        if self.kept_epoch is record:
            for kept, weight in zip(self._kept, self._validated.weights, strict=True):
                kept.assign(weight.numpy())
        return self.state.best is record

    @property
    def kept_epoch(self) -> EpochRecord:
        """The epoch whose weights are kept."""
        best = self.state.best
        assert best is not None, "no epoch has ended"
        return best if self._keep == "best" else self.state.history[-1]

    def save(self, step: int) -> None:
        """Write a checkpoint named after the global step (on the chief). UsageError if it cannot be written."""
        if self._manager is None:
            return
        try:
            self._manager.save(checkpoint_number=step)
        except (OSError, tf.errors.OpError) as error:
            reason = first_line(error)
            raise UsageError(
                f"--output: no checkpoint can be written to {self._directory} ({reason}); make room and give the same "
                "command again: it continues from the last one"
            ) from None

    def kept_weights(self) -> list[np.ndarray]:
        """The weights of the epoch that was kept, in the order of `model.weights`."""
        return [weight.numpy() for weight in self._kept]

    def digest(self) -> str:
        """64 hex digits: sha256 over everything that training changes, which is the same on all workers."""
        digest = hashlib.sha256()
        for variable in self._variables:
            digest.update(variable.numpy().tobytes())
        return digest.hexdigest()

    def _pack(self) -> bytes:
        buffer = io.BytesIO()
        arrays = {str(index): variable.numpy() for index, variable in enumerate(self._variables)}
        np.savez(buffer, state=np.array(self.state.serialize()), **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    def _unpack(self, payload: bytes) -> None:
        with np.load(io.BytesIO(payload)) as arrays:
            self.state.deserialize(str(arrays["state"]))
            for index, variable in enumerate(self._variables):
                variable.assign(arrays[str(index)])


def require_room(directory: Path, needed: int) -> None:
    """Make `directory` and write to it. Raises UsageError if that fails or fewer than `needed` bytes are free there."""
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
