"""Ids of lesions and patients."""

from __future__ import annotations

import pytest

from pipelines.domain.identities import reach_of, short_names, within


@pytest.mark.parametrize(
    ("identity", "written", "reach"),
    [
        ("1", "clinic #1", "source"),
        ("0042", "clinic #0042", "source"),
        ("7.0", "clinic #7", "source"),
        ("7.", "clinic #7", "source"),
        ("70.00", "clinic #70", "source"),
        ("7.50", "clinic #7.50", "source"),
        ("HAM_0000118", "HAM_0000118", "archive"),
        ("IL_7252831", "IL_7252831", "archive"),
        ("ip_1087262", "ip_1087262", "archive"),
        ("PAT_1516", "PAT_1516", "anywhere"),
        ("anna", "anna", "anywhere"),
        ("1a", "1a", "anywhere"),
    ],
)
def test_only_plain_numbers_belong_to_their_source(identity: str, written: str, reach: str) -> None:
    assert within("clinic", identity) == written
    assert within("", identity) == written.removeprefix("clinic #")
    assert reach_of(written) == reach_of(identity) == reach
    assert within("clinic", "") == ""


def test_a_source_is_called_by_as_little_of_its_path_as_tells_it_from_others() -> None:
    assert short_names(["/data/ham/images/", "/data/bcn/images", "gs://b/mine.zip", "clinic"]) == {
        "/data/ham/images/": "ham/images",
        "/data/bcn/images": "bcn/images",
        "gs://b/mine.zip": "mine.zip",
        "clinic": "clinic",
    }
    assert short_names(["a/x", "x"]) == {"a/x": "a/x", "x": "x"}
