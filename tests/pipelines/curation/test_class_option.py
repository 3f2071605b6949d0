"""The value of --classes: class sets of every kind, what is refused and how that is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from pipelines.curation.class_option import resolve_classes
from pipelines.domain.diagnoses import CLASS_SETS


def test_class_sets_of_the_users_own(tmp_path: Path) -> None:
    assert resolve_classes("isic9").classes == CLASS_SETS["isic9"]
    own = resolve_classes("Nevus, melanoma")
    assert own.classes == ("nevus", "melanoma")
    assert own.classes_of(["mel"]) == ("melanoma",)
    assert own.classes_of(["bcc"]) == ()
    mapping = tmp_path / "classes.json"
    mapping.write_text(json.dumps({"dark": ["nv", "mel"], "other": []}))
    mapped = resolve_classes(str(mapping))
    assert (mapped.classes, mapped.classes_of(["MEL"]), mapped.classes_of(["melanoma"])) == (
        ("dark", "other"),
        ("dark",),
        (),
    )
    (tmp_path / "classes.yaml").write_text("dark: [nv, mel]\nother: [bcc]\n")
    assert resolve_classes(str(tmp_path / "classes.yaml")).classes_of(["bcc"]) == ("other",)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.yaml", "benign: [0, false, no]\nmalignant: [1, true, yes]\n"),
        ("c.json", '{"benign": [0, false], "malignant": [1]}'),
    ],
)
def test_numbers_and_booleans_may_be_terms(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    mapped = resolve_classes(str(tmp_path / name))
    assert [mapped.classes_of([label]) for label in ("0", "0.0", "False", "FALSE")] == [("benign",)] * 4
    assert [mapped.classes_of([label]) for label in ("1", "1.0")] == [("malignant",)] * 2
    assert mapped.classes_of(["no"]) == (("benign",) if name == "c.yaml" else ())


def test_a_term_of_two_classes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("low: [1, 2]\nhigh: [2.0, 3]\n")
    with pytest.raises(UsageError, match=r"--classes .*c.yaml: '2' stands for two classes, 'low' and 'high'"):
        resolve_classes(str(tmp_path / "c.yaml"))


@pytest.mark.parametrize("value", ["isic99", "", "nevus,nevus", "/missing.json"])
def test_class_sets_that_are_none_are_refused(value: str) -> None:
    with pytest.raises(UsageError, match="--classes"):
        resolve_classes(value)


@pytest.mark.parametrize("content", ["[1, 2]", "{a: b, c: d}", "{only: [x]}", "{a: [", ""])
def test_mapping_files_that_are_none_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "classes.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"--classes .*classes.yaml"):
        resolve_classes(str(path))
