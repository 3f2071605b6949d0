"""Which epoch is best, when a run stops, and that its figures survive the checkpoint to the last bit."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from pipelines.common.cli import UsageError
from pipelines.common.full_disk import DiskFullError
from tests.support.small_disk import small_disk
from trainer.training.checkpoint import EpochRecord, RunCheckpoints, RunState, require_room


def state_of(*figures: tuple[float, float], sizes: tuple[int, ...] = ()) -> RunState:
    """A run with these (validation balanced accuracy, validation loss), one per epoch, on images of these sizes."""
    return RunState(
        [
            EpochRecord(
                epoch=epoch,
                loss=1 / 3,
                val_loss=loss,
                val_balanced_accuracy=accuracy,
                image_size=sizes[epoch - 1] if sizes else 64,
                learning_rate=0.1,
                images_per_second=1.0,
                seconds=1.0,
            )
            for epoch, (accuracy, loss) in enumerate(figures, start=1)
        ]
    )


def best_epoch(state: RunState) -> int | None:
    return state.best.epoch if state.best else None


def test_the_best_epoch_has_the_highest_accuracy_then_the_lower_loss_then_comes_first() -> None:
    assert best_epoch(state_of()) is None
    assert best_epoch(state_of((0.5, 1.0), (0.7, 2.0), (0.6, 0.1))) == 2
    assert best_epoch(state_of((0.7, 1.0), (0.7, 0.9), (0.7, 0.95))) == 2
    assert best_epoch(state_of((0.7, 1.0), (0.7, 1.0))) == 1


def test_epochs_on_smaller_images_than_the_last_are_not_the_best() -> None:
    state = state_of((0.9, 1.0), (0.6, 1.0), (0.7, 1.0), sizes=(32, 64, 64))
    assert best_epoch(state) == 3
    # Patience counts from the best of those.
    assert not state.finished(9, 1, 64)
    # It does not begin before there is one.
    assert not state_of((0.9, 1.0), (0.6, 1.0), (0.7, 1.0), sizes=(32, 32, 48)).finished(9, 1, 64)


@pytest.mark.parametrize(
    ("patience", "epochs", "finished"), [(2, 10, True), (3, 10, False), (0, 10, False), (0, 4, True), (9, 4, True)]
)
def test_a_run_stops_when_epochs_or_patience_have_run_out(patience: int, epochs: int, finished: bool) -> None:
    state = state_of((0.5, 1.0), (0.7, 1.0), (0.6, 1.0), (0.7, 1.1))
    assert state.finished(epochs, patience, 64) is finished
    assert not state_of().finished(epochs, patience, 64)


def test_figures_survive_exactly() -> None:
    state, again = state_of((1 / 3, 2 / 7), (0.1 + 0.2, 1e-17)), RunState()
    for step in range(1, 4):
        state.add_step(0.1 * step, 1 / 3)
    again.deserialize(state.serialize())
    assert again == state
    assert (again.epoch, again.step) == (2, 3)


def test_a_new_epoch_begins_with_nothing() -> None:
    state = state_of((0.5, 1.0))
    state.add_step(3.0, 2.0)
    state.end_epoch(state.history[0])
    assert state == RunState(state.history)


def test_a_directory_without_room_or_permission_is_an_error_at_the_start(tmp_path: Path) -> None:
    require_room(tmp_path / "new", 1000)
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(
        UsageError, match=r"--output: .*/new has room for \d+ MB, and checkpoints take 1000000000000 MB"
    ):
        require_room(tmp_path / "new", 10**18)
    # Not even the superuser can make files here.
    with pytest.raises(UsageError, match=r"--output: /sys/kernel cannot be written"):
        require_room(Path("/sys/kernel"), 1)


def test_a_disk_that_is_full_is_named_and_room_lets_it_go_on(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((100,)), keras.layers.Dense(1000)])  # 0.4 MB, and as much is kept
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    with small_disk(tmp_path / "disk", 500) as disk:
        checkpoints = RunCheckpoints(disk.path / "checkpoints", model, optimizer)
        with pytest.raises(DiskFullError, match=f"{disk.path}/checkpoints: the disk is full: .* bytes are missing"):
            checkpoints.save(1)
        assert not RunCheckpoints(disk.path / "checkpoints", model, optimizer).restore(lambda payload: payload)
        disk.resize(5000)
        checkpoints.save(1)
        assert RunCheckpoints(disk.path / "checkpoints", model, optimizer).restore(lambda payload: payload)
