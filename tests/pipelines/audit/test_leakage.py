"""Leaks across the split that an archive came with."""

from __future__ import annotations

import pytest

from pipelines.audit.leakage import FindLeakage, leak_json, leak_of, links
from pipelines.curation.near_duplicates import NearPair
from tests.support.collecting import run_with
from tests.support.image_rows import row


@pytest.mark.parametrize(
    ("splits", "leaks"),
    [
        (("train", "test"), True),
        (("train", "validation", "test"), True),
        (("train", ""), False),
        (("test",) * 2, False),
    ],
)
def test_a_group_leaks_where_its_files_name_two_splits(splits: tuple[str, ...], leaks: bool) -> None:
    files = [
        links(row(f"{n}", sha256=f"{n}", folder_split=one, lesion_ids=("L",)), False) for n, one in enumerate(splits)
    ]
    found = leak_of("g", files[::-1])
    assert bool(found) == leaks
    if found:
        assert found == leak_of("g", files)
        assert found.because == ("lesion L",)
        assert [split for split, _ in found.files] == list(splits)


def test_a_given_split_counts_before_the_folder_s() -> None:
    assert links(row("a", given_split="test", folder_split="train"), False).split == "test"


def test_sides_that_share_no_key_are_linked_by_a_chain() -> None:
    train = row("a", sha256="a", folder_split="train", lesion_ids=("L",))
    between = row("b", sha256="b", lesion_ids=("L", "M"))
    test = row("c", sha256="c", folder_split="test", lesion_ids=("M",))
    leak = leak_of("g", [links(one, False) for one in (train, between, test)])
    assert leak is not None
    assert leak.because == ("a chain of such links",)
    assert leak_json(leak)["files"] == {"train": ["/archive/a"], "test": ["/archive/c"]}


@pytest.mark.parametrize("by_patient", [False, True])
def test_leaks_are_found_through_bytes_lesions_patients_and_near_duplicates(by_patient: bool) -> None:
    rows = [
        row("Train/same.jpg", sha256="s", folder_split="train"),
        row("Test/same.jpg", sha256="s", folder_split="test"),
        row("Train/near.jpg", sha256="n", folder_split="train"),
        row("Test/near.jpg", sha256="o", folder_split="test"),
        row("Train/patient.jpg", sha256="p", folder_split="train", patient_ids=("P",)),
        row("Test/patient.jpg", sha256="q", folder_split="test", patient_ids=("P",)),
        row("Train/alone.jpg", sha256="z", folder_split="train"),
    ]
    leaks = run_with(rows, [NearPair("n", "o", 2, 0.1)], FindLeakage(by_patient))
    expected = [("near-duplicate",), ("same image",), *([("patient P",)] if by_patient else [])]
    assert sorted(leak.because for leak in leaks) == sorted(expected)
    assert {len(leak.files) for leak in leaks} == {2}
