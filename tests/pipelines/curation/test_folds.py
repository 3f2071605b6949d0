"""Folds for cross-validation: whole groups, every class, balanced in every union, in shards of their own."""

from __future__ import annotations

import hashlib
import io
import random
from collections import Counter, defaultdict

import apache_beam as beam
import numpy as np
import pytest
from PIL import Image

from pipelines.curation import feasibility
from pipelines.curation.split import AssignFolds, Fractions
from pipelines.dataset import description as dataset_description
from pipelines.dataset.image_row import ImageRow
from pipelines.prepare import balance, sharding
from pipelines.prepare.shard_writer import SplitShards, WriteShards
from tests.support.collecting import run, run_with

FRACTIONS = Fractions(0.9, 0.0, 0.1)


def row(name: str, **values) -> ImageRow:
    return ImageRow(path=f"/archive/{name}", relative=name, **{"sha256": name, "split": "train", **values})


def shuffled(rows):
    return random.Random(2).sample(rows, len(rows))


def lesions():
    """Train rows of 20 lesions of melanoma and 41 of nevus, three photographs each, and rows that do not train."""
    rows = [
        row(
            f"{lesion}-{n}",
            group_id=f"g{lesion}",
            lesion_ids=(f"L{lesion}",),
            label="melanoma" if lesion < 20 else "nevus",
        )
        for lesion in range(61)
        for n in range(3)
    ]
    others = [row(f"test{n}", group_id=f"t{n}", label="nevus", split="test") for n in range(5)]
    return [*rows, *others, row("bad", label="nevus").rejected("split", "leakage", "no")]


def test_folds_are_whole_groups_and_have_every_class_evenly():
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


def test_folds_depend_on_the_seed_and_the_rows_but_not_on_their_order():
    def folds(rows, seed):
        return {one.relative: one.fold for one in run(rows, AssignFolds(4, seed))}

    first = folds(lesions(), 3)
    assert folds(shuffled(lesions()), 3) == first
    assert folds(lesions(), 4) != first


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
def test_every_union_of_folds_is_balanced_on_its_own(method, target, per_fold):
    rows = [
        row(f"{label}{fold}-{n}", label=label, fold=fold)
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


def test_a_cut_class_is_told_of_with_its_fold():
    rows = [row(f"{n}", label="nevus", fold=1) for n in range(3)] + [row("m", label="melanoma", fold=1)]
    cut = [one for one in run(rows, balance.BalanceTrain("undersample", "min", seed=0, folds=2)) if one.outcome]
    assert [one.message for one in cut] == ["'nevus' of fold 1 is cut from 3 to 1 images"] * 2


def counted(**per_class):
    """Images per (part, class) from the number of test images, then of images in each fold."""
    images = {}
    for label, (test, *folds) in per_class.items():
        images |= {("test", label): test, ("train", label): sum(folds)}
        images |= {(f"fold {fold}", label): count for fold, count in enumerate(folds)}
    return {key: count for key, count in images.items() if count}


def test_a_class_that_a_fold_lacks_is_a_problem_with_a_way_out():
    enough = counted(a=(1, 2, 2, 2), b=(1, 1, 1, 1))
    assert feasibility.problem_with(enough, "ab", FRACTIONS, False, False, folds=3) is None
    lacking = counted(a=(1, 2, 2, 2), b=(3, 2, 2, 0))
    assert feasibility.problem_with(lacking, "ab", FRACTIONS, False, False, folds=3) == (
        "--folds 3 leaves class 'b' (7 usable images) without an image in fold 2; add images, ask for fewer folds, "
        "leave the class out with --classes, or add --small_classes reject"
    )
    assert feasibility.problem_with(lacking, "ab", FRACTIONS, False, False, folds=2) is None
    untested = counted(a=(1, 2, 2, 2), b=(0, 2, 2, 0))
    assert feasibility.problem_with(untested, "ab", FRACTIONS, False, False, folds=3).startswith(
        "--split_fractions 0.9,0,0.1 leaves class 'b' (4 usable images) without a test image;"
    )


def test_a_class_that_a_fold_lacks_may_go():
    rows = [row(f"n{n}", label="nevus", fold=n % 3) for n in range(9)]
    rows += [row(f"m{n}", label="melanoma", fold=n % 3) for n in range(3)]
    rows += [row(f"t{n}", label="tiny", fold=n) for n in range(2)]
    rows += [row(f"{label} test", label=label, split="test") for label in ("nevus", "melanoma", "tiny")]
    found = run(rows, feasibility.RejectSmallClasses(FRACTIONS, folds=3))
    assert len(found) == len(rows)
    rejected = [one for one in found if one.outcome]
    assert Counter((one.label, one.reason, one.split, one.fold) for one in rejected) == {
        ("tiny", "class_too_small", "", -1): 3
    }
    assert {one.message for one in rejected} == {"'tiny' has 3 usable images, too few for every split and fold"}
    assert {one.outcome for one in run(rows, feasibility.RejectSmallClasses(FRACTIONS, folds=2))} == {""}


def test_every_fold_has_the_shards_that_the_largest_needs():
    examples = {("train", 0): 1200, ("train", 1): 900, ("train", 2): 100, ("test", -1): 5}
    assert sharding.plan_shards(examples, 3, 180) == {"train": SplitShards(2, 3), "test": SplitShards(1)}
    assert sharding.plan_shards({("train", -1): 2200, ("validation", -1): 5}, 0, 180) == {
        "train": SplitShards(3),
        "validation": SplitShards(1),
    }


class _Shards(beam.PTransform):
    def __init__(self, folder):
        super().__init__()
        self._folder = str(folder)

    def expand(self, inputs):
        return (inputs | WriteShards(self._folder, ["melanoma", "nevus"], 16, "crop", seed=0, threads=2)).shards


def photographs(folder):
    """Planned rows of three folds and a test split, one small picture each; some with copies."""
    rows = []
    for n in range(30):
        data = io.BytesIO()
        Image.fromarray(np.random.default_rng(n).integers(0, 256, (16, 16, 3), np.uint8)).save(data, "png")
        (folder / f"{n}.png").write_bytes(data.getvalue())
        known = {"path": f"{folder}/{n}.png", "relative": f"{n}.png", "label": ("melanoma", "nevus")[n % 2]}
        placed = {"split": "test"} if n < 6 else {"split": "train", "fold": n % 3}
        sha256 = hashlib.sha256(data.getvalue()).hexdigest()
        rows.append(ImageRow(**known, **placed, sha256=sha256, copies=1 if n < 20 else 2))
    return rows


def test_shards_hold_one_fold_each_in_the_order_of_folds(tmp_path):
    import tensorflow as tf

    rows = photographs(tmp_path)
    expected = Counter({one.sha256: one.copies for one in rows})
    folds = {one.sha256: one.fold for one in rows}
    shards = {}
    for name, order in (("one", rows), ("two", shuffled(rows))):
        written = run_with(order, [{"train": SplitShards(2, 3), "test": SplitShards(1)}], _Shards(tmp_path / name))
        shards[name] = {shard.name: shard for shard in written}
    assert shards["one"] == shards["two"]
    assert [(name, shard.fold) for name, shard in sorted(shards["one"].items())] == [
        ("test-00000-of-00001.tfrecord", -1),
        *((f"train-{index:05d}-of-00006.tfrecord", index // 2) for index in range(6)),
    ]
    read: Counter = Counter()
    for name, shard in shards["one"].items():
        path = tmp_path / "one" / name
        assert path.read_bytes() == (tmp_path / "two" / name).read_bytes()
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            sha256 = features["image/key/sha256"].bytes_list.value[0].decode()
            assert features["image/fold"].int64_list.value == [folds[sha256]] == [shard.fold]
            read[sha256] += 1
    assert read == expected


def test_the_fingerprint_knows_the_fold():
    def content(fold):
        return dataset_description.tally_row(row("a", label="nevus", fold=fold, copies=1, outcome="written"))[
            "content",
        ]

    assert len({content(-1), content(0), content(1)}) == 3
