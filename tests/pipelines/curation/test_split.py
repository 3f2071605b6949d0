"""The rules of prepare, row by row: duplicates, groups, ranks, splits, balance, feasibility."""

from __future__ import annotations

import random
from collections import Counter

import apache_beam as beam
import pytest

from pipelines.beam.ranking import RankWithin
from pipelines.common.seeding import stable_hash, uniforms
from pipelines.curation import feasibility, split
from pipelines.curation.groups import AssignGroups
from pipelines.curation.near_duplicates import NearPair
from pipelines.dataset.image_row import SIDES, SPLITS, ImageRow
from pipelines.prepare import balance, sharding
from tests.support.collecting import run, run_with


def row(relative: str, **values) -> ImageRow:
    return ImageRow(path=f"/archive/{relative}", relative=relative, **{"sha256": "aa", "label": "nevus", **values})


class _GroupAlone(beam.PTransform):
    """AssignGroups for rows that nothing but they themselves links."""

    def __init__(self, by_patient=False):
        super().__init__()
        self._by_patient = by_patient

    def expand(self, inputs):
        rows, pairs = inputs
        return (rows, pairs, rows) | AssignGroups(self._by_patient)


def test_groups_follow_lesions_patients_and_near_duplicates():
    rows = [
        row("1", sha256="1", lesion_ids=("HAM_1",)),
        row("2", sha256="2", lesion_ids=("HAM_1", "IL_9")),
        row("3", sha256="3", lesion_ids=("IL_9",), patient_ids=("P",)),
        row("4", sha256="4", lesion_ids=("IL_8",), patient_ids=("P",)),
        row("5", sha256="5"),
        row("6", sha256="6"),
    ]

    def parts(by_patient, *pairs):
        found: dict[str, set[str]] = {}
        near = [NearPair(min(pair), max(pair), 2, 0.1) for pair in pairs]
        for one in run_with(rows, near, _GroupAlone(by_patient)):
            found.setdefault(one.group_id, set()).add(one.relative)
        return sorted(map("".join, map(sorted, found.values())))

    assert parts(False) == ["123", "4", "5", "6"]
    assert parts(True) == ["1234", "5", "6"]
    assert parts(False, ("6", "5"), ("5", "1")) == ["12356", "4"]


def test_ranks_are_the_positions_in_hash_order():
    names = [f"image {n}" for n in range(500)]
    random.Random(1).shuffle(names)
    elements = [("even" if int(name[6:]) % 2 == 0 else "odd", name, name.upper()) for name in names]
    ranked = run(elements, RankWithin(5, "test"))
    for stratum in ("even", "odd"):
        mine = [r for s, r in ranked if s == stratum]
        expected = sorted((n for s, n, _ in elements if s == stratum), key=lambda n: stable_hash(5, "test", n))
        assert [r.payload for r in sorted(mine)] == [name.upper() for name in expected]
        assert {r.stratum_size for r in mine} == {250}


def test_hash_separates_parts_and_uniforms_are_uniform():
    assert stable_hash("ab", "c") != stable_hash("a", "bc")
    draws = [value for n in range(500) for value in uniforms(4, "seed", n)]
    assert all(0 <= value < 1 for value in draws)
    assert abs(sum(draws) / len(draws) - 0.5) < 0.03


@pytest.mark.parametrize("groups", [3, 4, 5, 7, 10, 70, 1000])
def test_every_split_gets_its_share(groups):
    fractions = split.Fractions(0.8, 0.1, 0.1)
    counts = Counter(split.split_of_rank(rank, groups, fractions) for rank in range(groups))
    assert set(counts) == {"train", "validation", "test"}
    assert counts["test"] == max(1, int(groups * 0.1 + 0.5))
    assert counts["train"] >= counts["test"]


def test_a_fraction_of_zero_gets_nothing_and_few_groups_train_first():
    assert {split.split_of_rank(r, 9, split.Fractions(0.9, 0.1, 0.0)) for r in range(9)} == {"train", "validation"}
    assert split.split_of_rank(0, 1, split.Fractions(0.8, 0.1, 0.1)) == "train"


def test_split_keeps_groups_whole_and_ignores_order():
    rows = [
        row(f"{n}", sha256=f"{n:064d}", group_id=f"lesion:{n // 3}", label=["nevus", "melanoma"][n // 3 % 2])
        for n in range(300)
    ]
    transform = split.SplitGroups(split.Fractions(0.7, 0.15, 0.15), seed=3)
    first = {r.relative: r.split for r in run(rows, transform)}
    by_group: dict[int, set[str]] = {}
    for relative, name in first.items():
        by_group.setdefault(int(relative) // 3, set()).add(name)
    assert all(len(names) == 1 for names in by_group.values())
    for label in (0, 1):
        shares = Counter(next(iter(names)) for group, names in by_group.items() if group % 2 == label)
        assert shares == {"train": 34, "validation": 8, "test": 8}
    assert {
        r.relative: r.split for r in run(rows[::-1], split.SplitGroups(split.Fractions(0.7, 0.15, 0.15), seed=3))
    } == first
    assert {
        r.relative: r.split for r in run(rows, split.SplitGroups(split.Fractions(0.7, 0.15, 0.15), seed=4))
    } != first


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
def test_a_group_on_several_sides_stays_on_one(on_leakage, given, kept):
    rows = [row(f"{side}/{n}.jpg", given_split=side, group_id="g") for n, side in enumerate(given)]
    resolved = split.keep_given_split(rows, SIDES[on_leakage])
    assert [r.split or None for r in resolved] == kept
    stays = next(filter(None, kept))
    for before, after in zip(rows, resolved, strict=True):
        left = f"group g is in {stays} too: it cannot be in {before.given_split}"
        assert (after.reason, after.message) == (("", "") if after.split else ("leakage", left))


def test_given_splits_are_kept_and_the_rest_is_split_as_usual():
    rows = [row(f"{n}", sha256=f"{n}", group_id=f"{n}", given_split="test" if n < 20 else "") for n in range(120)]
    rows.append(row("tail", sha256="tail", group_id="3"))
    rows.append(row("head", sha256="head", group_id="4", given_split="train"))
    found = {r.relative: r for r in run(rows, split.SplitGroups(split.Fractions(0.8, 0.1, 0.1), seed=0))}
    assert Counter(r.split for n, r in found.items() if n.isdigit() and int(n) >= 20) == {
        "train": 80,
        "validation": 10,
        "test": 10,
    }
    assert found["tail"].split == found["3"].split == "test"
    assert (found["head"].split, found["4"].reason) == ("train", "leakage")
    other = split.SplitGroups(split.Fractions(0.8, 0.1, 0.1), seed=0, sides=SIDES["remove_from_train"])
    found = {r.relative: r for r in run(rows, other)}
    assert (found["head"].reason, found["4"].split) == ("leakage", "test")


@pytest.mark.parametrize(
    ("on_leakage", "train", "validation", "test"),
    [("remove_from_test", "012345", "9", "678"), ("remove_from_train", "234", "59", "01678")],
)
def test_split_folders_keep_the_side_that_is_asked_for(on_leakage, train, validation, test):
    sides = {"train": "012345", "validation": "59", "test": "01678"}
    rows = [row(f"{side}{n}", sha256=f"{side}{n}", given_split=side, group_id=n) for side in sides for n in sides[side]]
    found = run(rows, split.SplitFromFolders(split.Fractions(1.0, 0.0, 0.0), seed=0, sides=SIDES[on_leakage]))
    kept = {side: "".join(sorted(r.group_id for r in found if r.split == side)) for side in sides}
    assert kept == {"train": train, "validation": validation, "test": test}
    assert [r.reason for r in found if not r.split] == ["leakage"] * 3


def test_rows_outside_of_split_folders_are_rejected():
    rows = [row(f"{n}", sha256=f"{n}", group_id=f"{n}", given_split="train" if n else "") for n in range(9)]
    found = {r.relative: r for r in run(rows, split.SplitFromFolders(split.Fractions(1.0, 0.0, 0.0), seed=0))}
    assert found["0"].reason == "no_split_folder"
    assert {r.split for n, r in found.items() if n != "0"} == {"train"}


def test_folder_split_sets_validation_aside_only_where_there_is_none():
    def rows(*sides):
        return [
            row(f"{side}/{n}", sha256=f"{side}{n}", given_split=side, group_id=f"{side}{n}")
            for side in sides
            for n in range(40)
        ]

    transform = split.SplitFromFolders(split.Fractions(0.8, 0.2, 0.0), seed=0)
    assert Counter(r.split for r in run(rows("train", "test"), transform)) == {"train": 32, "validation": 8, "test": 40}
    kept = Counter(
        r.split
        for r in run(
            rows("train", "validation", "test"), split.SplitFromFolders(split.Fractions(0.8, 0.2, 0.0), seed=0)
        )
    )
    assert kept == {"train": 40, "validation": 40, "test": 40}


@pytest.mark.parametrize(("target", "count"), [(10, 3), (9, 3), (100, 7), (5, 5), (3, 5)])
def test_oversampling_reaches_the_target_as_evenly_as_possible(target, count):
    copies = [balance.copies_of_rank("oversample", target, rank, count) for rank in range(count)]
    assert sum(copies) == max(target, count)
    assert max(copies) - min(copies) <= 1


def test_undersampling_keeps_target_images_once():
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
def test_balance_methods(method, target, expected):
    rows = [row(f"n{n}", sha256=f"n{n}", split="train") for n in range(20)]
    rows += [row(f"m{n}", sha256=f"m{n}", split="train", label="melanoma") for n in range(5)]
    planned = run(rows, balance.BalanceTrain(method, target, seed=0))
    assert len(planned) == 25
    totals: Counter = Counter()
    for planned_row in planned:
        totals[planned_row.label] += planned_row.copies
        assert (planned_row.outcome == "undersampled") == (planned_row.copies == 0)
    assert totals == expected


def images_in(**per_class):
    return {
        (name, label): n for label, counts in per_class.items() for name, n in zip(SPLITS, counts, strict=True) if n
    }


FRACTIONS = split.Fractions(0.8, 0.1, 0.1)


def test_feasible():
    assert feasibility.problem_with(images_in(a=(8, 1, 1), b=(8, 1, 1)), ["a", "b"], FRACTIONS, False, False) is None


@pytest.mark.parametrize(
    ("names", "images", "says"),
    [
        ("ab", {}, "no usable image"),
        ("abc", images_in(a=(8, 1, 1), c=(8, 1, 1)), "no usable image of class 'b'"),
        ("ab", images_in(a=(8, 1, 1)), "any class but 'a'"),
        ("ab", images_in(a=(8, 1, 1), b=(2, 0, 1)), "leaves class 'b' (3 usable images) without a validation image"),
    ],
)
def test_infeasible_names_option_value_and_way_out(names, images, says):
    problem = feasibility.problem_with(images, names, FRACTIONS, False, False)
    assert says in problem
    assert "--classes" in problem
    assert "\n" not in problem


def test_small_classes_may_go():
    images = images_in(a=(8, 1, 1), b=(2, 0, 0), c=(5, 1, 1))
    assert feasibility.small_classes(images, FRACTIONS) == {"b": 2}
    assert (
        feasibility.problem_with(images_in(a=(8, 1, 1), c=(5, 1, 1)), ["a", "b", "c"], FRACTIONS, False, True) is None
    )
    assert "two classes are needed" in feasibility.problem_with(
        images_in(a=(8, 1, 1)), ["a", "b"], FRACTIONS, False, True
    )


def test_shards_grow_with_the_examples():
    assert sharding.shard_count(10, 180) == 1
    assert sharding.shard_count(100_000, 180) == 97
