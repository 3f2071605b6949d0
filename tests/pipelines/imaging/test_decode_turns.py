"""Large images take turns while they are decoded; small ones do not wait."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.imaging.decode_turns import MOST_BUDGET, DecodeTurns, default_budget

MB = 1 << 20


def most_at_once(sizes: list[int], budget: int, meeting: threading.Barrier | None = None) -> int:
    """Hold all sizes in threads of their own; return the most bytes that were held at a time."""
    turns = DecodeTurns(budget)
    lock = threading.Lock()
    held = [0]
    most = [0]

    def hold(size: int) -> None:
        with turns.hold(size):
            with lock:
                held[0] += size
                most[0] = max(most[0], held[0])
            if meeting:
                meeting.wait(10)
            with lock:
                held[0] -= size

    with ThreadPoolExecutor(len(sizes)) as pool:
        list(pool.map(hold, sizes))
    return most[0]


@pytest.mark.parametrize("sizes", [[60 * MB] * 8, [30 * MB, 90 * MB] * 4, [500 * MB, 10 * MB] * 4])
def test_no_more_than_the_budget_is_held_unless_by_one_alone(sizes: list[int]) -> None:
    assert most_at_once(sizes, 100 * MB) <= max(100 * MB, *sizes)


def test_what_fits_together_is_held_together() -> None:
    assert most_at_once([40 * MB] * 2, 100 * MB, threading.Barrier(2)) == 80 * MB


def test_small_images_never_wait() -> None:
    assert most_at_once([5 * MB] * 6, 10 * MB, threading.Barrier(6)) == 30 * MB


def test_the_memory_is_free_again_after_an_error() -> None:
    turns = DecodeTurns(20 * MB)
    for _ in range(3):
        with pytest.raises(KeyError), turns.hold(20 * MB):
            raise KeyError
    with turns.hold(20 * MB):
        pass


def test_a_large_file_is_read_and_decoded_alone() -> None:
    turns = DecodeTurns(100 * MB)
    order = []
    inside, over = threading.Event(), threading.Event()

    def large() -> None:
        with turns.hold_file(50 * MB):
            inside.set()
            # Of a file that is alone, the image does not wait.
            with turns.hold(400 * MB), turns.hold(20 * MB):
                over.wait(0.2)
                order.append("large")

    def small() -> None:
        inside.wait(10)
        with turns.hold_file(5 * MB):
            order.append("small file")
        with turns.hold(20 * MB):
            order.append("other")
            over.set()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda work: work(), (large, small)))
    assert order == ["small file", "large", "other"]


def test_a_budget_that_changes_holds_for_whoever_waits() -> None:
    turns = DecodeTurns(20 * MB)
    waiting = threading.Event()

    def wait() -> None:
        waiting.set()
        with turns.hold(30 * MB):
            pass

    with ThreadPoolExecutor(1) as pool, turns.hold(20 * MB):
        done = pool.submit(wait)
        waiting.wait(10)
        turns.resize(60 * MB)
        done.result(10)
    with turns.hold(60 * MB):
        pass
    turns.resize(0)
    assert 0 < default_budget() <= MOST_BUDGET
