"""Which epoch is best, when a run stops, and that its figures survive the checkpoint to the last bit."""

import pytest

from trainer.checkpoint import EpochRecord, RunState


def state_of(*figures):
    """A run with these (validation balanced accuracy, validation loss), one per epoch."""
    return RunState(
        [
            EpochRecord(
                epoch=epoch,
                loss=1 / 3,
                val_loss=loss,
                val_balanced_accuracy=accuracy,
                learning_rate=0.1,
                images_per_second=1.0,
                seconds=1.0,
            )
            for epoch, (accuracy, loss) in enumerate(figures, start=1)
        ]
    )


def best_epoch(state):
    return state.best and state.best.epoch


def test_the_best_epoch_has_the_highest_accuracy_then_the_lower_loss_then_comes_first():
    assert best_epoch(state_of()) is None
    assert best_epoch(state_of((0.5, 1.0), (0.7, 2.0), (0.6, 0.1))) == 2
    assert best_epoch(state_of((0.7, 1.0), (0.7, 0.9), (0.7, 0.95))) == 2
    assert best_epoch(state_of((0.7, 1.0), (0.7, 1.0))) == 1


@pytest.mark.parametrize(
    ("patience", "epochs", "finished"), [(2, 10, True), (3, 10, False), (0, 10, False), (0, 4, True), (9, 4, True)]
)
def test_a_run_stops_when_epochs_or_patience_have_run_out(patience, epochs, finished):
    state = state_of((0.5, 1.0), (0.7, 1.0), (0.6, 1.0), (0.7, 1.1))
    assert state.finished(epochs, patience) is finished
    assert not state_of().finished(epochs, patience)


def test_figures_survive_exactly():
    state, again = state_of((1 / 3, 2 / 7), (0.1 + 0.2, 1e-17)), RunState()
    again.deserialize(state.serialize())
    assert again.history == state.history
