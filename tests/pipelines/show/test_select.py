"""Which images of a dataset are shown, and what is said of them."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.common.cli import UsageError
from pipelines.show.select import choose, facts_of, find_image


def row(name: str, sha256: str | None, outcome: str = "written", **values: Any) -> dict[str, str | int | None]:
    known = {"label": "nevus", "split": "train", "fold": None, "reason": None, "path": f"/in/{name}.jpg"}
    nothing = dict.fromkeys(("claims", "lesion_id", "patient_id", "license", "group_id", "format", "width", "height"))
    return {**nothing, **known, "id": name, "sha256": sha256, "outcome": outcome, **values}


ROWS = [
    row("ISIC_0000001", "abcdef01"),
    row("ISIC_0000002", "abcdef02", label="melanoma"),
    row("ISIC_0000003", "beefbeef", split="test"),
    row("ISIC_0000003", "beefbeef", "duplicate", path="/in/again.jpg"),
    row("copy", "abcdef01", "duplicate"),
    row("bad", None, "rejected", reason="undecodable"),
]


def test_the_same_seed_chooses_the_same_images_in_any_order_of_rows() -> None:
    for count in (1, 2, 9):
        chosen = choose(ROWS, count, 7, None, None)
        assert choose(ROWS[::-1], count, 7, None, None) == chosen
        assert (len(chosen.rows), chosen.among) == (min(count, 3), 3)
    orders = {tuple(one["id"] for one in choose(ROWS, 3, seed, None, None).rows) for seed in range(20)}
    assert len(orders) > 1


@pytest.mark.parametrize(
    ("class_name", "split", "ids"),
    [("melanoma", None, {"ISIC_0000002"}), (None, "test", {"ISIC_0000003"}), ("melanoma", "test", set())],
)
def test_images_are_chosen_within_a_class_and_a_split(class_name: str | None, split: str | None, ids: set[str]) -> None:
    chosen = choose(ROWS, 9, 0, class_name, split)
    assert {one["id"] for one in chosen.rows} == ids
    assert chosen.among == len(ids)


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("ISIC_0000003", ["/in/ISIC_0000003.jpg", "/in/again.jpg"]),
        ("beefbe", ["/in/ISIC_0000003.jpg", "/in/again.jpg"]),
        ("BEEFBEEF", ["/in/ISIC_0000003.jpg", "/in/again.jpg"]),
        # The file that was kept has another id.
        ("copy", ["/in/ISIC_0000001.jpg", "/in/copy.jpg"]),
        ("bad", ["/in/bad.jpg"]),
    ],
)
def test_an_image_is_found_by_id_or_hash_with_all_its_files_the_written_one_first(name: str, paths: list[str]) -> None:
    assert [one["path"] for one in find_image(lambda: ROWS, name)] == paths


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("abcdef", "2 images have hashes that begin so (abcdef01, abcdef02); give more of it"),
        ("isic_0000002", "no file of this dataset has this id; the nearest are ISIC_0000002, "),
        ("beef", "no file of this dataset has this id"),
        ("\u202e", r"--id \u202e: no file"),
    ],
)
def test_an_image_that_cannot_be_told_is_refused_with_what_is_near(name: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        find_image(lambda: ROWS, name)
    assert says in str(refused.value)


def test_facts_leave_out_what_is_not_known() -> None:
    facts = dict(facts_of(row("a", "ab", fold=0, format="jpeg", width=6, height=4), ["melanoma", "nevus"], []))
    assert facts == {
        "outcome": "written",
        "class": "nevus (label 1)",
        "split": "train",
        "fold": "0",
        "file": "/in/a.jpg",
        "file is": "jpeg, 6 x 4",
        "sha256": "ab",
    }
    assert dict(facts_of(ROWS[-1], ["nevus"], []))["outcome"] == "rejected (undecodable)"
