"""How many examples an image becomes: as many of each class, as evenly as possible."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.prepare import balance
from pipelines.prepare.options import METHODS
from tests.support.collecting import run
from tests.support.image_rows import row, shuffled, train_row
from tests.support.properties import IN_A_PIPELINE, PURE


@pytest.mark.parametrize(("target", "count"), [(10, 3), (9, 3), (100, 7), (5, 5), (3, 5)])
def test_oversampling_reaches_the_target_as_evenly_as_possible(target: int, count: int) -> None:
    copies = [balance.copies_of_rank("oversample", target, rank, count) for rank in range(count)]
    assert sum(copies) == max(target, count)
    assert max(copies) - min(copies) <= 1


def test_undersampling_keeps_target_images_once() -> None:
    assert [balance.copies_of_rank("undersample", 2, rank, 4) for rank in range(4)] == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("oversample", "max", {"nevus": 20, "melanoma": 20}),
        ("oversample", 30, {"nevus": 30, "melanoma": 30}),
        ("oversample", 10, {"nevus": 20, "melanoma": 10}),
        ("oversample", "mean", {"nevus": 20, "melanoma": 12}),
        ("undersample", "min", {"nevus": 5, "melanoma": 5}),
        ("undersample", "mean", {"nevus": 12, "melanoma": 5}),
        ("undersample", 8, {"nevus": 8, "melanoma": 5}),
        ("none", "max", {"nevus": 20, "melanoma": 5}),
    ],
)
def test_each_method_reaches_its_target_in_every_class(
    method: str, target: int | str, expected: dict[str, int]
) -> None:
    rows = [row(f"n{n}", sha256=f"n{n}", split="train") for n in range(20)]
    rows += [row(f"m{n}", sha256=f"m{n}", split="train", label="melanoma") for n in range(5)]
    planned = run(rows, balance.BalanceTrain(method, target, seed=0))
    assert len(planned) == 25
    totals: Counter = Counter()
    for planned_row in planned:
        totals[planned_row.label] += planned_row.copies
        assert (planned_row.outcome == "undersampled") == (planned_row.copies == 0)
    assert totals == expected


# Images of each class in folds 0, 1 and 2.
UNEVEN = {"melanoma": (6, 4, 5), "nevus": (20, 17, 11), "dermatofibroma": (3, 4, 4)}


@pytest.mark.parametrize(
    ("method", "target", "per_fold"),
    [
        ("oversample", "max", (20, 20, 20)),
        ("oversample", 64, (22, 21, 21)),
        ("undersample", "min", (3, 3, 3)),
        ("undersample", 8, (3, 3, 2)),
    ],
)
def test_every_union_of_folds_is_balanced_on_its_own(
    method: str, target: int | str, per_fold: tuple[int, int, int]
) -> None:
    rows = [
        train_row(f"{label}{fold}-{n}", label=label, fold=fold)
        for label, counts in UNEVEN.items()
        for fold, count in enumerate(counts)
        for n in range(count)
    ]
    planned = run(rows, balance.BalanceTrain(method, target, seed=0, folds=3))
    assert len(planned) == len(rows)
    examples: Counter = Counter()
    for one in planned:
        examples[one.label, one.fold] += one.copies
        assert (one.reason == "undersampled") == (one.copies == 0)
    for left_out in range(3):
        trains = [fold for fold in range(3) if fold != left_out]
        for label in UNEVEN:
            assert sum(examples[label, fold] for fold in trains) == sum(per_fold[fold] for fold in trains)
    again = run(shuffled(rows), balance.BalanceTrain(method, target, seed=0, folds=3))
    assert {one.relative: one.copies for one in again} == {one.relative: one.copies for one in planned}


def test_a_cut_class_is_told_of_with_its_fold() -> None:
    rows = [train_row(f"{n}", label="nevus", fold=1) for n in range(3)] + [train_row("m", label="melanoma", fold=1)]
    cut = [one for one in run(rows, balance.BalanceTrain("undersample", "min", seed=0, folds=2)) if one.outcome]
    assert [one.message for one in cut] == ["'nevus' of fold 1 is cut from 3 to 1 images"] * 2


@PURE
@given(st.integers(1, 2000), st.integers(1, 300), st.sampled_from(["oversample", "undersample"]))
def test_copies_of_a_class_reach_the_target_within_one_of_each_other(target: Any, count: Any, method: Any) -> None:
    copies = [balance.copies_of_rank(method, target, rank, count) for rank in range(count)]
    assert max(copies) - min(copies) <= 1
    assert sum(copies) == (max(target, count) if method == "oversample" else min(target, count))
    assert min(copies) >= (method == "oversample")


@PURE
@given(st.integers(0, 2000), st.integers(1, 20))
def test_the_shares_of_folds_add_up_to_the_target_within_one_of_each_other(target: Any, folds: Any) -> None:
    shares = [balance.target_of_fold(target, fold, folds) for fold in range(folds)]
    assert sum(shares) == target
    assert max(shares) - min(shares) <= 1


@PURE
@given(st.lists(st.integers(1, 500), max_size=9))
def test_the_target_lies_between_the_smallest_and_the_largest_class(counts: Any) -> None:
    low, mean, high = (balance.target_count("oversample", name, counts) for name in ("min", "mean", "max"))
    assert (low, high) == (min(counts, default=0), max(counts, default=0))
    assert low <= mean <= high
    assert balance.target_count("none", 7, counts) == 0


@IN_A_PIPELINE
@given(
    st.dictionaries(st.sampled_from(["melanoma", "nevus", "scar"]), st.integers(1, 12), min_size=2),
    st.sampled_from(METHODS),
    st.sampled_from(["max", "mean", "min", 7]),
    st.randoms(),
)
def test_quotas_are_even_within_a_class_and_the_same_for_any_order_of_rows(
    classes: Any, method: Any, target: Any, random: Any
) -> None:
    rows = [
        row(f"{label}{n}", sha256=f"{label}{n}", split="train", label=label)
        for label, count in classes.items()
        for n in range(count)
    ]
    planned = run(rows, balance.BalanceTrain(method, target, seed=1))
    copies = {one.relative: one.copies for one in planned}
    goal = balance.target_count(method, target, classes.values())
    for label, count in classes.items():
        of_class = [one.copies for one in planned if one.label == label]
        expected = {"oversample": max(goal, count), "undersample": min(goal, count), "none": count}
        assert (len(of_class), sum(of_class)) == (count, expected[method])
        assert max(of_class) - min(of_class) <= 1
    again = run(random.sample(rows, len(rows)), balance.BalanceTrain(method, target, seed=1))
    assert {one.relative: one.copies for one in again} == copies


@pytest.mark.parametrize("split", ["validation", "test"])
def test_rows_that_do_not_train_are_written_once(split: str) -> None:
    before = row("a", split=split)
    assert balance.write_once(before) == before._replace(copies=1)
