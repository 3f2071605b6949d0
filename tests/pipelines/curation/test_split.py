"""The split: whole groups, the fractions asked for, given splits kept."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.curation import split
from pipelines.curation.fractions import Fractions
from pipelines.curation.split import AssignFolds
from pipelines.dataset.image_row import SIDES, ImageRow
from tests.support.collecting import run
from tests.support.image_rows import row, shuffled, train_row
from tests.support.properties import IN_A_PIPELINE, PURE


@pytest.mark.parametrize("groups", [3, 4, 5, 7, 10, 70, 1000])
def test_every_split_gets_its_share(groups: int) -> None:
    fractions = Fractions(0.8, 0.1, 0.1)
    counts = Counter(split.split_of_rank(rank, groups, fractions) for rank in range(groups))
    assert set(counts) == {"train", "validation", "test"}
    assert counts["test"] == max(1, int(groups * 0.1 + 0.5))
    assert counts["train"] >= counts["test"]


def test_a_fraction_of_zero_gets_nothing_and_few_groups_train_first() -> None:
    assert {split.split_of_rank(r, 9, Fractions(0.9, 0.1, 0.0)) for r in range(9)} == {"train", "validation"}
    assert split.split_of_rank(0, 1, Fractions(0.8, 0.1, 0.1)) == "train"


def test_split_keeps_groups_whole_and_ignores_order() -> None:
    rows = [
        row(f"{n}", sha256=f"{n:064d}", group_id=f"lesion:{n // 3}", label=["nevus", "melanoma"][n // 3 % 2])
        for n in range(300)
    ]
    transform = split.SplitGroups(Fractions(0.7, 0.15, 0.15), seed=3)
    first = {r.relative: r.split for r in run(rows, transform)}
    by_group: dict[int, set[str]] = {}
    for relative, name in first.items():
        by_group.setdefault(int(relative) // 3, set()).add(name)
    assert all(len(names) == 1 for names in by_group.values())
    for label in (0, 1):
        shares = Counter(next(iter(names)) for group, names in by_group.items() if group % 2 == label)
        assert shares == {"train": 34, "validation": 8, "test": 8}
    assert {
        r.relative: r.split for r in run(rows[::-1], split.SplitGroups(Fractions(0.7, 0.15, 0.15), seed=3))
    } == first
    assert {r.relative: r.split for r in run(rows, split.SplitGroups(Fractions(0.7, 0.15, 0.15), seed=4))} != first


@pytest.mark.parametrize(
    ("on_leakage", "given", "kept"),
    [
        ("remove_from_test", ["train", "train"], ["train", "train"]),
        ("remove_from_test", ["train", "test", "validation", ""], ["train", None, None, "train"]),
        ("remove_from_test", ["test", "validation"], [None, "validation"]),
        ("remove_from_test", ["", "test"], ["test", "test"]),
        ("remove_from_train", ["train", "train"], ["train", "train"]),
        ("remove_from_train", ["train", "test", "validation", ""], [None, "test", None, "test"]),
        ("remove_from_train", ["train", "validation"], [None, "validation"]),
    ],
)
def test_a_group_on_several_sides_stays_on_one(on_leakage: str, given: list[str], kept: list[str | None]) -> None:
    rows = [row(f"{side}/{n}.jpg", given_split=side, group_id="g") for n, side in enumerate(given)]
    resolved = split.keep_given_split(rows, SIDES[on_leakage])
    assert [r.split or None for r in resolved] == kept
    stays = next(filter(None, kept))
    for before, after in zip(rows, resolved, strict=True):
        left = f"group g is in {stays} too: it cannot be in {before.given_split}"
        assert (after.reason, after.message) == (("", "") if after.split else ("leakage", left))


def test_given_splits_are_kept_and_the_rest_is_split_as_usual() -> None:
    rows = [row(f"{n}", sha256=f"{n}", group_id=f"{n}", given_split="test" if n < 20 else "") for n in range(120)]
    rows.append(row("tail", sha256="tail", group_id="3"))
    rows.append(row("head", sha256="head", group_id="4", given_split="train"))
    found = {r.relative: r for r in run(rows, split.SplitGroups(Fractions(0.8, 0.1, 0.1), seed=0))}
    assert Counter(r.split for n, r in found.items() if n.isdigit() and int(n) >= 20) == {
        "train": 80,
        "validation": 10,
        "test": 10,
    }
    assert found["tail"].split == found["3"].split == "test"
    assert (found["head"].split, found["4"].reason) == ("train", "leakage")
    other = split.SplitGroups(Fractions(0.8, 0.1, 0.1), seed=0, sides=SIDES["remove_from_train"])
    found = {r.relative: r for r in run(rows, other)}
    assert (found["head"].reason, found["4"].split) == ("leakage", "test")


@pytest.mark.parametrize(
    ("on_leakage", "train", "validation", "test"),
    [("remove_from_test", "012345", "9", "678"), ("remove_from_train", "234", "59", "01678")],
)
def test_split_folders_keep_the_side_that_is_asked_for(on_leakage: str, train: str, validation: str, test: str) -> None:
    sides = {"train": "012345", "validation": "59", "test": "01678"}
    rows = [row(f"{side}{n}", sha256=f"{side}{n}", given_split=side, group_id=n) for side in sides for n in sides[side]]
    found = run(rows, split.SplitFromFolders(Fractions(1.0, 0.0, 0.0), seed=0, sides=SIDES[on_leakage]))
    kept = {side: "".join(sorted(r.group_id for r in found if r.split == side)) for side in sides}
    assert kept == {"train": train, "validation": validation, "test": test}
    assert [r.reason for r in found if not r.split] == ["leakage"] * 3


def test_rows_outside_of_split_folders_are_rejected() -> None:
    rows = [row(f"{n}", sha256=f"{n}", group_id=f"{n}", given_split="train" if n else "") for n in range(9)]
    found = {r.relative: r for r in run(rows, split.SplitFromFolders(Fractions(1.0, 0.0, 0.0), seed=0))}
    assert found["0"].reason == "no_split_folder"
    assert {r.split for n, r in found.items() if n != "0"} == {"train"}


def test_folder_split_sets_validation_aside_only_where_there_is_none() -> None:
    def rows(*sides: object) -> Any:
        return [
            row(f"{side}/{n}", sha256=f"{side}{n}", given_split=side, group_id=f"{side}{n}")
            for side in sides
            for n in range(40)
        ]

    transform = split.SplitFromFolders(Fractions(0.8, 0.2, 0.0), seed=0)
    assert Counter(r.split for r in run(rows("train", "test"), transform)) == {"train": 32, "validation": 8, "test": 40}
    kept = Counter(
        r.split
        for r in run(rows("train", "validation", "test"), split.SplitFromFolders(Fractions(0.8, 0.2, 0.0), seed=0))
    )
    assert kept == {"train": 40, "validation": 40, "test": 40}


def lesions() -> list[ImageRow]:
    """Train rows of 20 lesions of melanoma and 41 of nevus, three photographs each, and rows that do not train."""
    rows = [
        train_row(
            f"{lesion}-{n}",
            group_id=f"g{lesion}",
            lesion_ids=(f"L{lesion}",),
            label="melanoma" if lesion < 20 else "nevus",
        )
        for lesion in range(61)
        for n in range(3)
    ]
    others = [train_row(f"test{n}", group_id=f"t{n}", label="nevus", split="test") for n in range(5)]
    return [*rows, *others, train_row("bad", label="nevus").rejected("split", "leakage", "no")]


def test_folds_are_whole_groups_and_have_every_class_evenly() -> None:
    found = run(lesions(), AssignFolds(4, seed=3))
    assert len(found) == len(lesions())
    folds_of = defaultdict(set)
    for one in found:
        assert (one.fold >= 0) == (one.split == "train")
        if one.fold >= 0:
            folds_of[one.label, one.lesion_ids].add(one.fold)
    assert all(len(folds) == 1 for folds in folds_of.values())
    groups = Counter((label, *folds) for (label, _), folds in folds_of.items())
    assert [groups["melanoma", fold] for fold in range(4)] == [5] * 4
    assert sorted(groups["nevus", fold] for fold in range(4)) == [10, 10, 10, 11]


def test_folds_depend_on_the_seed_and_the_rows_but_not_on_their_order() -> None:
    def folds(rows: Any, seed: int) -> Any:
        return {one.relative: one.fold for one in run(rows, AssignFolds(4, seed))}

    first = folds(lesions(), 3)
    assert folds(shuffled(lesions()), 3) == first
    assert folds(lesions(), 4) != first


FRACTIONS = st.sampled_from(
    [(0.8, 0.1, 0.1), (0.9, 0.0, 0.1), (0.5, 0.5, 0.0), (1.0, 0.0, 0.0), (0.34, 0.33, 0.33), (0.1, 0.45, 0.45)]
).map(lambda shares: Fractions(*shares))
# Sizes of the groups of each class.
GROUPS = st.dictionaries(
    st.sampled_from(["melanoma", "nevus", "scar", "wart"]),
    st.lists(st.integers(1, 3), min_size=3, max_size=9),
    min_size=2,
)


def rows_of_groups(groups: dict[str, list[int]], **values: str) -> list[ImageRow]:
    return [
        row(f"{label}{group}-{n}", sha256=f"{label}{group}-{n}", group_id=f"{label}{group}", label=label, **values)
        for label, sizes in groups.items()
        for group, size in enumerate(sizes)
        for n in range(size)
    ]


@PURE
@given(st.integers(3, 500), FRACTIONS)
def test_fractions_of_the_groups_of_a_class_are_met_within_one_group(groups: Any, fractions: Any) -> None:
    counts = Counter(split.split_of_rank(rank, groups, fractions) for rank in range(groups))
    for name, share in fractions._asdict().items():
        assert (counts[name] > 0) == (share > 0)
        # Train has what the others leave.
        assert abs(counts[name] - share * groups) <= (2 if name == "train" else 1)


@PURE
@given(st.integers(3, 60), st.integers(0, 30), st.integers(0, 30), FRACTIONS)
def test_groups_that_have_a_split_count_towards_the_fractions(
    new: Any, validation: Any, test: Any, fractions: Any
) -> None:
    settled = {"validation": validation, "test": test}
    counts = Counter(split.split_of_rank(rank, new, fractions, settled) for rank in range(new))
    wanted = split.quota(new + validation + test, fractions)
    assert counts["test"] == max(0, min(new, wanted.test - test))
    assert counts["validation"] == max(0, min(new - counts["test"], wanted.validation - validation))


@IN_A_PIPELINE
@given(GROUPS, FRACTIONS, st.randoms())
def test_no_group_is_in_two_splits_and_any_order_of_rows_gives_the_same(
    groups: Any, fractions: Any, random: Any
) -> None:
    rows = rows_of_groups(groups)
    first = {r.relative: r.split for r in run(rows, split.SplitGroups(fractions, seed=5))}
    assert first.keys() == {r.relative for r in rows}
    splits_of: dict[str, set[str]] = {}
    for r in rows:
        splits_of.setdefault(r.group_id, set()).add(first[r.relative])
    assert {len(splits) for splits in splits_of.values()} == {1}
    for label, sizes in groups.items():
        counts = Counter(next(iter(splits_of[f"{label}{group}"])) for group in range(len(sizes)))
        quota = split.quota(len(sizes), fractions)
        assert (counts["validation"], counts["test"]) == quota
    mixed = run(random.sample(rows, len(rows)), split.SplitGroups(fractions, seed=5))
    assert {r.relative: r.split for r in mixed} == first


@PURE
@given(st.lists(st.integers(0, 9), min_size=2, max_size=10), st.integers(1, 60))
def test_folds_that_get_a_group_are_the_smallest_ones(settled: Any, new: Any) -> None:
    folds = len(settled)
    dealt = Counter(split.fold_of_rank(rank, dict(enumerate(settled)), folds) for rank in range(new))
    after = [before + dealt[fold] for fold, before in enumerate(settled)]
    assert sum(after) == sum(settled) + new
    assert all(after[fold] - min(after) <= 1 for fold in dealt)


@IN_A_PIPELINE
@given(GROUPS, st.integers(2, 4), st.randoms())
def test_no_group_is_in_two_folds_and_any_order_of_rows_gives_the_same(groups: Any, folds: Any, random: Any) -> None:
    rows = rows_of_groups(groups, split="train")
    first = {r.relative: r.fold for r in run(rows, split.AssignFolds(folds, seed=5))}
    folds_of: dict[str, set[int]] = {}
    for r in rows:
        folds_of.setdefault(r.group_id, set()).add(first[r.relative])
    assert {len(found) for found in folds_of.values()} == {1}
    for label, sizes in groups.items():
        counts = Counter(next(iter(folds_of[f"{label}{group}"])) for group in range(len(sizes)))
        assert set(counts) <= set(range(folds))
        assert max(counts[fold] for fold in range(folds)) - min(counts[fold] for fold in range(folds)) <= 1
    mixed = run(random.sample(rows, len(rows)), split.AssignFolds(folds, seed=5))
    assert {r.relative: r.fold for r in mixed} == first
