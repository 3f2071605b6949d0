"""The list of changes: what it may say, and what is wrong with one that cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.common.cli import UsageError
from tests.support.tiny_dataset import ROOT
from trainer.experiment.ablations import Ablation, Change, is_leaky, leaky_fingerprint, read_changes

LINE = {"name": "wide", "says": "twice the channels", "options": {"width": 2.0}}


def read(tmp_path: Path, value: Any) -> Ablation:
    path = tmp_path / "changes.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return read_changes(path)


def test_changes_are_read_in_their_order(tmp_path: Path) -> None:
    leaky = {"name": "leak", "says": "the mistake", "options": {}, "dataset": "leaky"}
    assert read(tmp_path, {"changes": [LINE, leaky], "base": {"epochs": 3}}) == Ablation(
        base={"epochs": 3},
        changes=(
            Change(name="wide", says="twice the channels", options={"width": 2.0}),
            Change(name="leak", says="the mistake", options={}, dataset="leaky"),
        ),
    )
    assert read(tmp_path, {"changes": []}) == Ablation()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("{", "is no list of changes"),
        ([LINE], "is no list of changes"),
        ({"changes": [LINE], "bases": {}}, "is no list of changes"),
        ({"changes": [{**LINE, "why": "x"}]}, "is no list of changes"),
        ({"changes": [{**LINE, "name": "Wide Net"}]}, "'Wide Net' is no name; use small letters"),
        ({"changes": [{**LINE, "says": 5}]}, "'says' is 5; give text for the table"),
        ({"changes": [{**LINE, "options": {"widht": 2}}]}, ", wide: 'widht' is not an option of a recipe"),
        ({"changes": [{**LINE, "dataset": "other"}]}, "'other' is no dataset; one of plain, balanced, leaky"),
        ({"changes": [LINE, LINE]}, "has 'wide' twice"),
        ({"changes": [{**LINE, "name": "base"}]}, "has 'base' twice"),
        ({"changes": [], "base": {"output": "x"}}, ", base: 'output' is not an option of a recipe"),
    ],
)
def test_a_list_that_cannot_be_is_explained(tmp_path: Path, value: Any, says: str) -> None:
    with pytest.raises(UsageError) as error:
        read(tmp_path, value)
    assert str(error.value).startswith(f"--changes {tmp_path / 'changes.json'}")
    assert says in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be read \(Is a directory\); name a JSON file"):
        read_changes(tmp_path)


def test_a_leaky_dataset_is_known_by_its_fingerprint() -> None:
    names = {leaky_fingerprint("f", fold, seed) for fold in (0, 1) for seed in (0, 1)}
    assert len(names) == 4
    assert all(map(is_leaky, names))
    assert not is_leaky("f")


def test_the_changes_that_we_give_can_be_read() -> None:
    assert read_changes(ROOT / "trainer/config/changes.json").changes
