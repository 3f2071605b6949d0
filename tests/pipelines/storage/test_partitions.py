"""Runs as partitions of an output: their names, which are finished, and what interrupted ones leave."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.common.cli import UsageError
from pipelines.storage import filesystem, output, partitions
from tests.support.claimed import end

TODAY = datetime.date(2026, 3, 4)
OWN = re.compile(r"part-\d+$|_summary\.json$")


def finish(folder: Path, name: str) -> Path:
    partition = folder / f"run={name}"
    partition.mkdir(parents=True, exist_ok=True)
    (partition / "_summary.json").write_text("{}")
    return partition


def interrupt(folder: Path, name: str, ready: bool) -> Path:
    """A run that was killed: while it worked, or (ready) when one of two files had been put in place."""
    partition = partitions.partition_folder(str(folder), name)
    attempt = output.begin(partition, str(folder))
    for part in (0, 1):
        filesystem.write_bytes(filesystem.join(attempt.publish_folder, f"part-{part}"), name.encode())
    if ready:
        attempt.announce(partitions.MARKER, b"{}")
        filesystem.move_files(attempt.publish_folder, partition, ["part-0"])
    end(folder)
    return folder / f"run={name}"


def settle(folder: Path, current: str) -> str:
    return partitions.settle_interrupted(str(folder), str(folder / f"run={current}"), OWN)


def names(folder: Path) -> list[str]:
    return sorted(filesystem.list_tree(str(folder)))


@pytest.mark.parametrize("name", ["a", "2026-03-04", "7.b_c-d", "x" * 63])
def test_names_that_can_be_part_of_a_path(tmp_path: Path, name: str) -> None:
    assert partitions.choose_name(str(tmp_path), name, TODAY, False) == name


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "-x", "a b", "a\n", "ä", "x" * 64, "a=b"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="letters, digits"):
        partitions.choose_name(str(tmp_path), name, TODAY, True)


def test_further_runs_of_a_day_are_numbered(tmp_path: Path) -> None:
    def name(further: Any) -> Any:
        return partitions.choose_name(str(tmp_path), "", TODAY, further)

    assert name(True) == "2026-03-04"
    finish(tmp_path, "2026-03-04")
    assert name(False) == "2026-03-04"
    for expected in ("2026-03-04.02", "2026-03-04.03"):
        # What was not finished is begun again under its own name.
        interrupt(tmp_path, expected, ready=False)
        assert name(True) == expected
        finish(tmp_path, expected)
    assert partitions.finished_runs(str(tmp_path)) == ["2026-03-04", "2026-03-04.02", "2026-03-04.03"]


def test_only_runs_with_a_summary_are_finished(tmp_path: Path) -> None:
    assert partitions.finished_runs(str(tmp_path / "nothing")) == []
    finish(tmp_path, "b")
    finish(tmp_path, "a")
    (tmp_path / "run=c").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "_summary.json").write_text("{}")
    assert partitions.finished_runs(str(tmp_path)) == ["a", "b"]


def previous(folder: Path | str, current: Path) -> list[str]:
    return partitions.previous_partitions("--previous", str(folder), str(current))


def test_earlier_runs_are_those_of_an_output_or_one_of_them(tmp_path: Path) -> None:
    first, second = finish(tmp_path, "1"), finish(tmp_path, "2")
    current = tmp_path / "run=3"
    assert previous(tmp_path, current) == [str(first), str(second)]
    assert previous(f"{tmp_path}/", current) == [str(first), str(second)]
    assert previous(second, current) == [str(second)]
    assert previous(f"{second}/", current) == [str(second)]
    # A run that is replaced knows nothing of itself.
    assert previous(tmp_path, second) == [str(first)]
    assert previous(tmp_path / "run=2" / ".." / "run=2", second) == []


def test_on_the_first_night_there_is_nothing_yet(tmp_path: Path) -> None:
    assert previous(tmp_path / "scores", tmp_path / "scores" / "run=1") == []
    assert previous(f"{tmp_path}/./scores/", tmp_path / "scores" / "run=1") == []
    (tmp_path / "scores").mkdir()
    assert previous(tmp_path / "scores", tmp_path / "scores" / "run=1") == []


def test_a_folder_without_runs_is_no_earlier_output(tmp_path: Path) -> None:
    for folder in (tmp_path / "missing", tmp_path):
        with pytest.raises(UsageError, match=f"--previous {folder}: holds no finished run"):
            previous(folder, tmp_path / "scores" / "run=1")
    with pytest.raises(UsageError, match="--previous nowhere://x: cannot be read") as caught:
        previous("nowhere://x", tmp_path / "run=1")
    assert "\n" not in str(caught.value)


def test_an_output_with_other_things_is_not_meant(tmp_path: Path) -> None:
    partitions.require_own(str(tmp_path / "missing"))
    partitions.require_own(str(tmp_path))
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty and holds no earlier run"):
        partitions.require_own(str(tmp_path))
    finish(tmp_path, "1")
    partitions.require_own(str(tmp_path))


def test_an_output_whose_first_run_was_killed_is_our_own(tmp_path: Path) -> None:
    interrupt(tmp_path, "1", False)
    partitions.require_own(str(tmp_path))


def test_interrupted_runs_come_to_an_end(tmp_path: Path) -> None:
    done, whole = finish(tmp_path, "0"), interrupt(tmp_path, "1", True)
    assert settle(tmp_path, "3") == "1"
    half = interrupt(tmp_path, "2", False)
    assert settle(tmp_path, "3") == ""
    assert names(done) == ["_summary.json"]
    assert names(whole) == ["_summary.json", "part-0", "part-1"]
    assert not half.exists()
    assert settle(tmp_path, "3") == ""
    assert not (tmp_path / output.TEMPORARY).exists()


def test_an_interrupted_run_with_a_damaged_file_is_discarded(tmp_path: Path) -> None:
    whole = interrupt(tmp_path, "1", True)
    (whole / "part-0").write_text("")
    assert settle(tmp_path, "3") == ""
    assert not whole.exists()


def test_the_run_that_is_begun_again_is_made_afresh(tmp_path: Path) -> None:
    whole = interrupt(tmp_path, "1", True)
    assert settle(tmp_path, "1") == ""
    assert not whole.exists()


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    half = interrupt(tmp_path, "1", True)
    (half / "notes.txt").write_text("mine")
    settle(tmp_path, "1")
    assert names(half) == ["notes.txt"]
    foreign = tmp_path / output.TEMPORARY
    foreign.mkdir()
    (foreign / "claim.json").write_text("mine")
    assert settle(tmp_path, "3") == ""
    assert names(foreign) == ["claim.json"]


def test_a_run_that_was_interrupted_twice_leaves_no_file_without_a_summary(tmp_path: Path) -> None:
    """Once while its files were put in place, then when it had been begun afresh."""
    twice = interrupt(tmp_path, "1", True)
    output.begin(str(twice), str(tmp_path))
    end(tmp_path)
    (twice / "notes.txt").write_text("mine")
    assert "part-0" in names(twice)
    assert settle(tmp_path, "2") == ""
    assert names(twice) == ["notes.txt"]


def test_a_run_that_works_is_neither_finished_nor_discarded(tmp_path: Path) -> None:
    attempt = output.begin(str(tmp_path / "run=1"), str(tmp_path))
    filesystem.write_bytes(f"{attempt.publish_folder}/part-0", b"")
    attempt.announce(partitions.MARKER, b"{}")
    before = names(tmp_path)
    with pytest.raises(UsageError, match=f"--output {tmp_path}: is being written by process"):
        settle(tmp_path, "2")
    assert names(tmp_path) == before
    assert attempt.publish(OWN)
    assert names(tmp_path) == ["run=1/_summary.json", "run=1/part-0"]


def test_a_run_that_is_refused_leaves_nothing_of_a_new_output(tmp_path: Path) -> None:
    def refuse() -> None:
        with output.begun(str(tmp_path / "out" / "run=1"), partitions.MARKER, False, str(tmp_path / "out")):
            raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        refuse()
    assert list(tmp_path.iterdir()) == []
