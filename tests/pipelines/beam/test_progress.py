"""The line of progress: what it says, what is counted, and where nothing is shown."""

from __future__ import annotations

import io
import multiprocessing
import os
import pty
import re
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.beam.progress import Progress, duration, progress_line, shown_progress


@pytest.mark.parametrize(
    ("listed", "done", "speed", "line"),
    [
        (0, 0, 0.0, "0 images listed"),
        (12_345, 0, 0.0, "12,345 images listed"),
        (10, 3, 0.0, "3 of 10 images (30%)"),
        (2000, 500, 50.0, "500 of 2,000 images (25%), 50 images/s, 30 s left"),
        (1_000_000, 1000, 1000.4, "1,000 of 1,000,000 images (0%), 1,000 images/s, 17 min left"),
        (100, 40, 0.25, "40 of 100 images (40%), 0.2 images/s, 4 min left"),
        (40, 40, 2.0, "40 of 40 images (100%), 2.0 images/s, 0 s left"),
    ],
)
def test_the_line_has_counts_share_and_speed(listed: int, done: int, speed: float, line: str) -> None:
    assert progress_line(listed, done, speed) == line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (89 * 60, "89 min"), (90 * 60, "1 h 30 min"), (36_000, "10 h 0 min")],
)
def test_a_duration_is_told_in_the_unit_that_fits_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def add_many(progress: Progress) -> None:
    for _ in range(500):
        progress.add("done", 3)


def test_threads_and_processes_count_together(tmp_path: Path) -> None:
    progress = Progress(str(tmp_path))
    assert progress.count("done") == 0
    workers = [multiprocessing.get_context("spawn").Process(target=add_many, args=(progress,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add_many, [progress] * 4))
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert progress.count("done") == 6 * 500 * 3
    assert progress.count("listed") == 0


def test_who_outlives_the_run_tells_nobody(tmp_path: Path) -> None:
    progress = Progress(str(tmp_path / "gone"))
    progress.add("done", 3)
    assert progress.count("done") == 0
    assert not (tmp_path / "gone").exists()


def test_elsewhere_nothing_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with shown_progress(False) as progress:
        progress.add("done", 3)
        assert progress.count("done") == 0
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fails", [False, True])
def test_a_short_run_that_nobody_watches_says_nothing_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    threads = threading.active_count()
    try:
        with shown_progress(True) as progress:
            progress.add("listed", 10)
            progress.add("done", 4)
            assert [progress.count(what) for what in ("listed", "done")] == [10, 4]
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert fails
    assert stderr.getvalue() == ""
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == threads


def read_until(terminal: int, *patterns: str) -> str:
    """What a terminal shows until it has shown all of the patterns, one after the other."""
    shown, start = "", 0
    for pattern in patterns:
        while not (found := re.compile(pattern).search(shown, start)):
            shown += os.read(terminal, 1000).decode()
        start = found.end()
    return shown


def test_on_a_terminal_one_line_is_written_over_and_over_and_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, inner = pty.openpty()
    with os.fdopen(inner, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with shown_progress(True) as progress:
            progress.add("listed", 2000)
            shown = read_until(terminal, "\r2,000 images listed")
            progress.add("done", 1500)
            # What the first look finds was done before anyone looked: no speed can be made of it.
            shown += read_until(terminal, r"\r1,500 of 2,000 images \(75%\) *\r")
            progress.add("done", 500)
            shown += read_until(terminal, r"\r2,000 of 2,000 images \(100%\), \d[\d,.]* images/s, 0 s left")
        shown += read_until(terminal, "\r *\r$")
    os.close(terminal)
    assert "\n" not in shown
    *lines, last, wiped, rest = shown.split("\r")
    assert (wiped.strip(), rest) == ("", "")
    assert len(wiped) >= len(last.rstrip())
    # No line leaves the end of a longer one before it.
    assert all(len(line) >= len(before.rstrip()) for before, line in zip(lines, [*lines[1:], last], strict=True))
