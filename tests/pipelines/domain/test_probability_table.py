"""What a table of probabilities says of them is read as it was written, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.domain.probability_table import as_metadata, read_metadata


def test_what_was_written_is_read() -> None:
    prior, views = read_metadata(as_metadata([0.25, 0.75], "eight_views"), 2)
    assert (prior.tolist(), views) == ([0.25, 0.75], "eight_views")
    prior, views = read_metadata(as_metadata([0.25, 0.75], None), 2)
    assert (prior.tolist(), views) == ([0.25, 0.75], None)


@pytest.mark.parametrize("metadata", [None, {}])
def test_a_file_that_says_nothing_is_of_equal_classes(metadata: dict[Any, Any] | None) -> None:
    prior, views = read_metadata(metadata, 2)
    assert (prior.tolist(), views) == ([0.5, 0.5], None)


@pytest.mark.parametrize("known", [b'{"a": 1}', b"[]", b"0", b"[0, 0]", b"[0.5, null]", b"[0.5]"])
def test_frequencies_of_a_file_that_are_none(known: bytes) -> None:
    with pytest.raises(ValueError, match="class_prior"):
        read_metadata({b"class_prior": known}, 2)


def test_views_of_a_file_that_are_none() -> None:
    with pytest.raises(ValueError, match="views is neither one_view nor eight_views"):
        read_metadata({b"views": b"nine"}, 2)
