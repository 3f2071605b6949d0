"""Output folders: what is refused, what is replaced, what an interrupted run leaves."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from pipelines.storage import filesystem, output
from tests.support.claimed import end

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


def test_an_output_lies_in_no_input(tmp_path: Path) -> None:
    images = tmp_path / "images"
    (images / "melanoma").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(images)
    for inside in (images / "out", images / "melanoma" / "deep" / "out", link / "out"):
        with pytest.raises(UsageError, match=f"--output {inside}: lies in {images}, which is read; name a folder"):
            require(inside, beside=[str(images)])
    for apart in (tmp_path / "images-out", tmp_path / "out"):
        require(apart, beside=[str(images), str(tmp_path / "images.csv")])
    assert filesystem.is_inside("gs://bucket/in/out", "gs://bucket/in/")
    assert not filesystem.is_inside("gs://bucket/inside", "gs://bucket/in")


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
    end(tmp_path)
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

    def discard() -> None:
        assert output.settle_interrupted(str(folder), str(folder), OWN, "done.json") == ""

    discard()
    output.begin(str(folder))
    end(folder)
    (folder / "part-1").write_text("put in place")
    discard()
    assert not folder.exists()
    output.begin(str(folder))
    end(folder)
    (folder / "part-1").write_text("of the finished run that was to be replaced")
    (folder / "done.json").write_text("{}")
    discard()
    assert names(folder) == ["done.json", "part-1"]


def test_an_output_that_a_run_writes_is_refused_before_it_is_looked_at(tmp_path: Path) -> None:
    attempt = output.begin(str(tmp_path))
    filesystem.write_bytes(f"{attempt.folder}/pack", b"")
    before = names(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(UsageError, match=f"--output {tmp_path}: is being written by process {os.getpid()} on "):
            require(tmp_path, overwrite)
    with pytest.raises(UsageError, match="is being written"), output.begun(str(tmp_path), "done.json", True):
        pass
    assert names(tmp_path) == before


def test_what_another_run_has_finished_since_is_not_replaced(tmp_path: Path) -> None:
    require(tmp_path)
    (tmp_path / "done.json").write_text("{}")
    with pytest.raises(UsageError, match="add --overwrite"), output.begun(str(tmp_path), "done.json", False):
        pass
    assert names(tmp_path) == ["done.json"]
    with output.begun(str(tmp_path), "done.json", True) as attempt:
        assert attempt.is_claimed()


def test_a_refused_run_leaves_nothing_and_touches_nothing_of_the_run_that_took_its_place(tmp_path: Path) -> None:
    folder = tmp_path / "out"

    def refuse(meanwhile: Callable[[], object]) -> None:
        with output.begun(str(folder), "done.json", False):
            meanwhile()
            raise UsageError("no")

    def take_over() -> None:
        end(folder)
        output.begin(str(folder))

    with pytest.raises(UsageError, match="no"):
        refuse(lambda: None)
    assert names(tmp_path) == []
    with pytest.raises(UsageError, match="no"):
        refuse(take_over)
    assert len(names(tmp_path)) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_run_that_failed_can_be_repeated_in_the_same_process(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with output.begun(str(tmp_path), "done.json", False) as attempt:
            filesystem.write_bytes(f"{attempt.publish_folder}/part-1", b"")
            raise error

    for _ in range(2):
        with pytest.raises(error):
            fail()
        assert output.is_unfinished(names(tmp_path))
        require(tmp_path)


def test_a_run_that_fails_because_another_took_its_place_says_so(tmp_path: Path) -> None:
    def fail() -> None:
        with output.begun(str(tmp_path), "done.json", False):
            end(tmp_path)
            output.begin(str(tmp_path))
            raise FileNotFoundError("of a folder that the other has cleared away")

    with pytest.raises(UsageError, match=f"--output {tmp_path}: another run has taken it meanwhile"):
        fail()
    assert len(names(tmp_path)) == 1
