"""Output folders: what is refused, what is replaced, what an interrupted run leaves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from pipelines.storage import filesystem, output

OWN = re.compile(r"part-\d+$|done\.json$")


def names(folder: Path) -> list[str]:
    return sorted(filesystem.list_tree(str(folder)))


def require(folder: Path, overwrite: bool = False, beside: Sequence[str] = ()) -> None:
    output.require_output(str(folder), "done.json", overwrite, list(beside))


def test_new_and_empty_folders_are_fine_and_stay_untouched(tmp_path: Path) -> None:
    require(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    require(tmp_path / "empty")
    assert names(tmp_path) == []


def test_foreign_files_are_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="not empty"):
            require(tmp_path, overwrite)
    assert names(tmp_path) == ["thesis.txt"]


def test_finished_output_needs_overwrite_and_interrupted_does_not(tmp_path: Path) -> None:
    (tmp_path / "done.json").write_text("{}")
    with pytest.raises(UsageError, match="--overwrite"):
        require(tmp_path)
    require(tmp_path, overwrite=True)
    (tmp_path / "done.json").unlink()
    output.begin(str(tmp_path))
    require(tmp_path)


def test_a_folder_called_like_ours_proves_nothing(tmp_path: Path) -> None:
    (tmp_path / output.TEMPORARY).mkdir()
    (tmp_path / output.TEMPORARY / "precious.txt").write_text("mine")
    for _ in range(2):
        with pytest.raises(UsageError, match="not empty"):
            require(tmp_path, overwrite=True)
        assert names(tmp_path)[-1].startswith(f"{output.TEMPORARY}/precious")
        (tmp_path / "done.json").write_text("{}")
        with pytest.raises(UsageError, match="not ours"):
            require(tmp_path, overwrite=True)
        (tmp_path / "done.json").unlink()


def test_unwritable_and_overlapping_outputs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--output"):
        require(tmp_path / "file" / "below")
    with pytest.raises(UsageError, match="also an input"):
        require(tmp_path / "x", beside=[f"{tmp_path}/x/"])


def test_abandoned_run_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    output.abandon(output.begin(str(folder / "deep")))
    assert names(tmp_path) == []
    assert not folder.exists()
    (tmp_path / "mine").mkdir()
    output.abandon(output.begin(str(tmp_path / "mine")))
    assert (tmp_path / "mine").is_dir()


def test_what_is_discarded_is_what_an_interrupted_run_left(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "deep"
    output.discard_interrupted(str(folder), OWN, "done.json")
    output.begin(str(folder))
    (folder / "part-1").write_text("put in place")
    output.discard_interrupted(str(folder), OWN, "done.json")
    assert not folder.exists()
    output.begin(str(folder))
    (folder / "part-1").write_text("of the finished run that was to be replaced")
    (folder / "done.json").write_text("{}")
    output.discard_interrupted(str(folder), OWN, "done.json")
    assert names(folder) == ["done.json", "part-1"]
