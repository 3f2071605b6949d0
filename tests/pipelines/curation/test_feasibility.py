"""Whether a dataset can be made at all: every class in every split and fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest

from pipelines.curation import feasibility
from pipelines.curation.feasibility import unused_table
from pipelines.curation.fractions import Fractions
from pipelines.domain.dataset_json import SPLITS
from pipelines.prepare.options import PrepareOptions
from pipelines.sources.source import Source, Table
from tests.support.class_names import ISIC9
from tests.support.collecting import run
from tests.support.image_rows import train_row


def images_in(**per_class: tuple[int, int, int]) -> dict[tuple[str, str], int]:
    return {
        (name, label): n for label, counts in per_class.items() for name, n in zip(SPLITS, counts, strict=True) if n
    }


FRACTIONS = Fractions(0.8, 0.1, 0.1)


def test_images_in_every_split_of_every_class_are_no_problem() -> None:
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
def test_infeasible_names_option_value_and_way_out(names: str, images: dict[tuple[str, str], int], says: str) -> None:
    problem = feasibility.problem_with(images, names, FRACTIONS, False, False)
    assert problem is not None
    assert says in problem
    assert "--classes" in problem
    assert "\n" not in problem


def test_no_usable_image_names_what_was_not_understood() -> None:
    options = PrepareOptions(sources=(), output="", class_set=ISIC9)
    unmapped = [("Melanocitic nevi", 10), ("dog", 9)]
    nothing = feasibility.find_problem(options, {}, {"unmapped_label": 19}, [], {}, unmapped)
    said = "; not understood: 'Melanocitic nevi' 10 (nearest 'nevus'), 'dog' 9; "
    assert nothing is not None
    assert f"no usable image (unmapped_label 19){said}name the classes" in nothing
    some = images_in(melanoma=(8, 1, 1), dermatofibroma=(8, 1, 1))
    lacking = feasibility.find_problem(options, some, {"unmapped_label": 19}, [], {}, unmapped)
    assert lacking is not None
    assert f"no usable image of class 'actinic keratosis'{said}name those present" in lacking


def test_small_classes_may_go() -> None:
    images = images_in(a=(8, 1, 1), b=(2, 0, 0), c=(5, 1, 1))
    assert feasibility.small_classes(images, FRACTIONS) == {"b": 2}
    assert (
        feasibility.problem_with(images_in(a=(8, 1, 1), c=(5, 1, 1)), ["a", "b", "c"], FRACTIONS, False, True) is None
    )
    problem = feasibility.problem_with(images_in(a=(8, 1, 1)), ["a", "b"], FRACTIONS, False, True)
    assert problem is not None
    assert "two classes are needed" in problem


FOLD_FRACTIONS = Fractions(0.9, 0.0, 0.1)


def counted(**per_class: tuple[int, int, int, int]) -> dict[tuple[str, str], int]:
    """Images per (part, class) from the number of test images, then of images in each fold."""
    images: dict[tuple[str, str], int] = {}
    for label, (test, *folds) in per_class.items():
        images |= {("test", label): test, ("train", label): sum(folds)}
        images |= {(f"fold {fold}", label): count for fold, count in enumerate(folds)}
    return {key: count for key, count in images.items() if count}


def test_a_class_that_a_fold_lacks_is_a_problem_with_a_way_out() -> None:
    enough = counted(a=(1, 2, 2, 2), b=(1, 1, 1, 1))
    assert feasibility.problem_with(enough, "ab", FOLD_FRACTIONS, False, False, folds=3) is None
    lacking = counted(a=(1, 2, 2, 2), b=(3, 2, 2, 0))
    assert feasibility.problem_with(lacking, "ab", FOLD_FRACTIONS, False, False, folds=3) == (
        "--folds 3 leaves class 'b' (7 usable images) without an image in fold 2; add images, ask for fewer folds, "
        "leave the class out with --classes, or add --small_classes reject"
    )
    assert feasibility.problem_with(lacking, "ab", FOLD_FRACTIONS, False, False, folds=2) is None
    untested = counted(a=(1, 2, 2, 2), b=(0, 2, 2, 0))
    problem = feasibility.problem_with(untested, "ab", FOLD_FRACTIONS, False, False, folds=3)
    assert problem is not None
    assert problem.startswith("--split_fractions 0.9,0,0.1 leaves class 'b' (4 usable images) without a test image;")


def test_a_class_that_a_fold_lacks_may_go() -> None:
    rows = [train_row(f"n{n}", label="nevus", fold=n % 3) for n in range(9)]
    rows += [train_row(f"m{n}", label="melanoma", fold=n % 3) for n in range(3)]
    rows += [train_row(f"t{n}", label="tiny", fold=n) for n in range(2)]
    rows += [train_row(f"{label} test", label=label, split="test") for label in ("nevus", "melanoma", "tiny")]
    found = run(rows, feasibility.RejectSmallClasses(FOLD_FRACTIONS, folds=3))
    assert len(found) == len(rows)
    rejected = [one for one in found if one.outcome]
    assert Counter((one.label, one.reason, one.split, one.fold) for one in rejected) == {
        ("tiny", "class_too_small", "", -1): 3
    }
    assert {one.message for one in rejected} == {"'tiny' has 3 usable images, too few for every split and fold"}
    assert {one.outcome for one in run(rows, feasibility.RejectSmallClasses(FOLD_FRACTIONS, folds=2))} == {""}


def test_a_table_that_knows_no_image_is_named() -> None:
    def said(*sources: Source, known: Iterable[str], shared: tuple[Table, ...] = ()) -> str | None:
        options = PrepareOptions(sources=sources, output="", metadata=shared)
        return unused_table(options, dict.fromkeys(known, 1))

    mine = Table("/m.csv", name="m.csv")
    found = said(known=(), shared=(mine,))
    assert found is not None
    assert found.startswith("--metadata /m.csv: knows none of the images")
    assert said(known=("m.csv",), shared=(mine,)) is None
    train, test = (Table(f"/{name}.csv", name=name, option="--input", found=True) for name in ("train", "test"))
    source = Source("a", "/a", "isic2018", (train, test))
    assert said(source, known=("train",)) is None
    found = said(source, known=())
    assert found is not None
    assert found.startswith("--input /a: /train.csv, found with it, knows none")
    found = said(Source("a", "/a", tables=(train,)), known=())
    assert found is not None
    assert "layout folders" in found
