"""The last step of a job: its files in place, the marker last, however often and in whatever order steps are run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.beam.publish import Publish, _Announce, _PutInPlace
from pipelines.common.cli import UsageError
from pipelines.storage import filesystem, output
from pipelines.storage.attempt import Attempt, DamagedError
from tests.support.claimed import end
from tests.support.collecting import run

OWN = re.compile(r"part-\d+$|done\.json$")


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    """An attempt that has written its files, beside an earlier output and a file that is no job's."""
    for name in ("part-1", "part-2", "done.json", "thesis.txt"):
        (tmp_path / name).write_text("old")
    begun = output.begin(str(tmp_path))
    write(begun)
    return begun


def write(attempt: Attempt) -> None:
    """What the steps before the last one do, each time that they are run."""
    for name in ("part-1", "nested/x"):
        filesystem.write_bytes(f"{attempt.publish_folder}/{name}", b"new")


def announce(attempt: Attempt) -> None:
    assert list(_Announce(attempt, "done.json").process(b"{}")) == [b"{}"]


def put_in_place(attempt: Attempt) -> None:
    _PutInPlace(attempt, OWN).process(b"{}")


def content(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in sorted(filesystem.list_tree(str(folder)))}


PUBLISHED = {"done.json": "{}", "nested/x": "new", "part-1": "new", "thesis.txt": "old"}


def test_publish_replaces_own_files_only_and_ends_with_the_marker(attempt: Attempt, tmp_path: Path) -> None:
    run([b"{}"], Publish(attempt, OWN, "done.json", unattended=True))
    assert content(tmp_path) == PUBLISHED


def test_with_a_command_that_waits_a_job_puts_nothing_in_place(attempt: Attempt, tmp_path: Path) -> None:
    assert run([b"{}"], Publish(attempt, OWN, "done.json", unattended=False)) == [b"{}"]
    assert content(tmp_path).items() >= {"part-2": "old", "done.json": "old"}.items()
    assert attempt.publish(OWN)
    assert content(tmp_path) == PUBLISHED
    assert not attempt.publish(OWN)


def test_each_step_may_run_again_before_or_after_the_next_has_begun(attempt: Attempt, tmp_path: Path) -> None:
    announce(attempt)
    # Another attempt of the same tasks was a little behind.
    write(attempt)
    announce(attempt)
    filesystem.move_files(attempt.publish_folder, str(tmp_path), ["part-1"])
    announce(attempt)
    put_in_place(attempt)
    assert content(tmp_path) == PUBLISHED
    put_in_place(attempt)
    announce(attempt)
    put_in_place(attempt)
    assert content(tmp_path) == PUBLISHED


def test_what_a_task_writes_when_all_is_in_place_is_no_unfinished_output(attempt: Attempt, tmp_path: Path) -> None:
    announce(attempt)
    put_in_place(attempt)
    write(attempt)
    announce(attempt)
    put_in_place(attempt)
    found = content(tmp_path)
    assert found.items() >= PUBLISHED.items()
    assert not output.is_unfinished(found)
    output.require_output(str(tmp_path), "done.json", True, [])
    output.abandon(output.begin(str(tmp_path)))
    assert content(tmp_path) == PUBLISHED


def test_a_job_whose_command_was_repeated_publishes_nothing(attempt: Attempt, tmp_path: Path) -> None:
    end(tmp_path)
    later = output.begin(str(tmp_path))
    # The first job still runs: its tasks write, and come to their end.
    write(attempt)
    filesystem.write_bytes(f"{attempt.publish_folder}/part-2", b"of the first")
    announce(attempt)
    put_in_place(attempt)
    assert content(tmp_path).items() >= {"part-1": "old", "done.json": "old"}.items()
    write(later)
    announce(later)
    put_in_place(attempt)
    put_in_place(later)
    assert content(tmp_path) == PUBLISHED


def test_a_command_whose_output_another_run_has_taken_says_so(attempt: Attempt, tmp_path: Path) -> None:
    announce(attempt)
    end(tmp_path)
    second = output.begin(str(tmp_path))
    with pytest.raises(UsageError, match=r"--output .*: another run has taken it meanwhile; run one at a time"):
        attempt.publish_as_command(OWN)
    write(second)
    announce(second)
    second.publish_as_command(OWN)
    assert content(tmp_path) == PUBLISHED


def test_what_a_killed_task_was_writing_is_not_published(attempt: Attempt, tmp_path: Path) -> None:
    filesystem.write_bytes(f"{attempt.publish_folder}/part-1.0123456789abcdef.partial", b"ne")
    announce(attempt)
    put_in_place(attempt)
    assert content(tmp_path) == PUBLISHED


def test_a_step_that_is_run_again_may_write_other_bytes_before_they_are_moved(attempt: Attempt, tmp_path: Path) -> None:
    announce(attempt)
    filesystem.write_bytes(f"{attempt.publish_folder}/part-1", b"of another second")
    announce(attempt)
    put_in_place(attempt)
    assert content(tmp_path) == {**PUBLISHED, "part-1": "of another second"}


@pytest.mark.parametrize("found", [None, b"", b"old", b"news"])
def test_a_file_that_is_not_what_was_announced_is_an_error_and_nothing_changes(
    attempt: Attempt, tmp_path: Path, found: bytes | None
) -> None:
    announce(attempt)
    path = Path(attempt.publish_folder) / "nested" / "x"
    path.unlink()
    if found is not None:
        path.write_bytes(found)
    before = content(tmp_path)
    with pytest.raises(DamagedError, match=r"nested/x is (gone before it was put in place|not what was written)"):
        put_in_place(attempt)
    assert content(tmp_path) == before
    assert output.is_unfinished(before)


def test_a_file_in_place_that_was_changed_since_is_an_error_too(attempt: Attempt, tmp_path: Path) -> None:
    announce(attempt)
    filesystem.move_files(attempt.publish_folder, str(tmp_path), ["nested/x"])
    (tmp_path / "nested" / "x").write_text("of another run")
    with pytest.raises(DamagedError, match=r"nested/x is not what was written"):
        put_in_place(attempt)


def test_what_came_after_the_announcement_is_not_published(attempt: Attempt, tmp_path: Path) -> None:
    announce(attempt)
    filesystem.write_bytes(f"{attempt.publish_folder}/part-3", b"of another run")
    put_in_place(attempt)
    assert content(tmp_path) == PUBLISHED


def test_a_damaged_update_is_made_again_while_the_earlier_output_is_whole(attempt: Attempt, tmp_path: Path) -> None:
    announce(attempt)
    before = (tmp_path / "part-1").read_text()
    (Path(attempt.publish_folder) / "part-1").write_text("")
    end(tmp_path)
    assert not output.finish_interrupted(str(tmp_path), OWN)
    assert (tmp_path / "part-1").read_text() == before
    assert not (tmp_path / ".unfinished").exists()
    again = output.begin(str(tmp_path))
    write(again)
    announce(again)
    (Path(again.publish_folder) / "part-1").write_text("")
    (tmp_path / "done.json").unlink()
    end(tmp_path)
    with pytest.raises(DamagedError):
        output.finish_interrupted(str(tmp_path), OWN)
