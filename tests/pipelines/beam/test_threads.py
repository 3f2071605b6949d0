"""Work on several threads: bounded, in order, ended by the first error."""

from __future__ import annotations

import collections
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pipelines.beam.threads import map_ahead


def test_few_results_wait_however_slow_the_first_is() -> None:
    """What is made but not yet asked for stays bounded, however slow the first is and however fast the rest."""
    made: list[int] = []
    first_may_end = threading.Event()

    def make(number: int) -> Any:
        if number == 0:
            first_may_end.wait()
        made.append(number)
        return number

    taken = 0
    with ThreadPoolExecutor(3) as pool:

        def numbers() -> Iterator[int]:
            for number in range(100):
                if number == 6:
                    first_may_end.set()
                assert number - taken <= 6
                yield number

        for result in map_ahead(pool, make, numbers(), 6):
            assert result == taken
            assert max(made) - result < 6
            taken += 1
    assert taken == 100


def test_the_first_error_is_raised_and_the_rest_is_dropped() -> None:
    def fail_at_three(number: int) -> int:
        if number >= 3:
            raise ValueError(str(number))
        return number

    taken: list[int] = []
    with ThreadPoolExecutor(2) as pool, pytest.raises(ValueError, match="3"):
        collections.deque(map(taken.append, map_ahead(pool, fail_at_three, range(1_000), 4)))
    assert taken == [0, 1, 2]
