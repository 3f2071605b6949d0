"""The fingerprint of a model covers each of its files, and a copy is made of no others."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.domain.model_files import MODEL_JSON, ModelFilesError, copy_checked, local_names, seal_model

PARTS = {"saved_model.pb": b"graph", "variables/variables.index": b"where", "assets/classes.txt": b"nevus"}


def seal(folder: Path, **description: object) -> str:
    """Write a model of a few bytes; its fingerprint."""
    for name, content in PARTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return seal_model(folder, {"classes": ["nevus"], **description})["model_fingerprint"]


def copy(folder: Path, target: Path, fingerprint: str, files: dict) -> None:
    """Copy a model, held against what was known of it before."""
    target.mkdir(exist_ok=True)
    copy_checked(fingerprint, files, local_names(folder), lambda name: (folder / name).read_bytes(), target)


def test_a_fingerprint_depends_on_each_file_and_on_what_the_model_says(tmp_path: Path) -> None:
    first = seal(tmp_path / "a")
    assert first == seal(tmp_path / "b")
    others = {seal(tmp_path / "c", metrics={"auc": 0.5})}
    for name in PARTS:
        (tmp_path / "a" / name).write_bytes(b"other")
        others.add(seal_model(tmp_path / "a", {"classes": ["nevus"]})["model_fingerprint"])
    (tmp_path / "b" / "assets" / "more.txt").touch()
    others.add(seal_model(tmp_path / "b", {"classes": ["nevus"]})["model_fingerprint"])
    assert len({first, *others}) == 2 + len(PARTS) + 1


def another_description(folder: Path) -> None:
    said = json.loads((folder / MODEL_JSON).read_text())
    seal_model(folder, {**said, "classes": ["melanoma"]})


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "as long": (
        lambda folder: (folder / "saved_model.pb").write_bytes(b"grapH"),
        "saved_model.pb is not the .*SHA-256",
    ),
    "longer": (
        lambda folder: (folder / "saved_model.pb").write_bytes(b"a graph"),
        "saved_model.pb is .*7 bytes instead",
    ),
    "one less": (lambda folder: (folder / "assets/classes.txt").unlink(), "assets/classes.txt is missing"),
    # TensorFlow would read it in the place of saved_model.pb.
    "one more": (
        lambda folder: (folder / "saved_model.cpb").touch(),
        "saved_model.cpb was not exported with the model",
    ),
    "no model.json": (lambda folder: (folder / MODEL_JSON).unlink(), "assets/model.json is missing"),
    "no JSON": (lambda folder: (folder / MODEL_JSON).write_text("{"), "assets/model.json is that of another model"),
    "other model.json": (another_description, "assets/model.json is that of another model"),
    "link": (lambda folder: (folder / "assets/link").symlink_to("classes.txt"), "assets/link is a link; .*cp -rL"),
    "linked folder": (lambda folder: (folder / "more").symlink_to("assets"), "more is a link"),
    "pipe": (lambda folder: os.mkfifo(folder / "assets/pipe"), "assets/pipe is no regular file"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_that_is_not_as_it_was_exported_is_not_copied(tmp_path: Path, change: str) -> None:
    folder, target = tmp_path / "model", tmp_path / "copy"
    fingerprint = seal(folder)
    files = json.loads((folder / MODEL_JSON).read_text())["files"]
    CHANGES[change][0](folder)
    with pytest.raises(ModelFilesError, match=CHANGES[change][1]) as caught:
        copy(folder, target, fingerprint, files)
    assert "\n" not in str(caught.value)


def test_a_copy_has_all_files_but_what_systems_leave(tmp_path: Path) -> None:
    folder, target = tmp_path / "model", tmp_path / "copy"
    fingerprint = seal(folder)
    (folder / ".DS_Store").touch()
    # The folder itself may be a link, as that of the newest model.
    (tmp_path / "newest").symlink_to(folder)
    copy(tmp_path / "newest", target, fingerprint, json.loads((folder / MODEL_JSON).read_text())["files"])
    copied = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert copied == {**PARTS, MODEL_JSON: (folder / MODEL_JSON).read_bytes()}
