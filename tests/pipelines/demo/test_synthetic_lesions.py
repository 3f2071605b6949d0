"""Synthetic lesions."""

from __future__ import annotations

import pytest

from pipelines.demo.synthetic_lesions import PAINTERS, photograph
from pipelines.domain.diagnoses import CLASS_SETS


def test_every_class_of_isic9_can_be_painted() -> None:
    assert set(PAINTERS) == set(CLASS_SETS["isic9"])


@pytest.mark.parametrize("name", PAINTERS)
def test_a_photograph_is_the_same_each_time_and_another_for_another_lesion_or_view(name: str) -> None:
    first = photograph(name, [0, 1], 0)
    assert first.mode == "RGB"
    assert min(first.size) >= 96
    assert 128 <= max(first.size) <= 200
    assert photograph(name, [0, 1], 0).tobytes() == first.tobytes()
    others = {photograph(name, [0, 1], 1).tobytes(), photograph(name, [0, 2], 0).tobytes()}
    assert len({first.tobytes(), *others}) == 3
