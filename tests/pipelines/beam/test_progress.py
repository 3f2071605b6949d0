"""How far a job is that runs here: what is counted, by which processes, and which phase that is."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.beam.progress import JobPhase, count, counted, current_phase, shown_progress
from pipelines.common import console

PHASES = (
    JobPhase("listing", "listed"),
    JobPhase("checking", "checked", ("listed",)),
    JobPhase("grouping"),
    JobPhase("writing", "written", ("planned", "dropped")),
    JobPhase("describing"),
)


def add_many(_: object = None) -> None:
    for _ in range(500):
        count("checked", 3)


def test_threads_and_processes_count_together() -> None:
    with shown_progress(True, ()):
        assert counted("checked") == 0
        workers = [multiprocessing.get_context("spawn").Process(target=add_many) for _ in range(2)]
        for worker in workers:
            worker.start()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(add_many, range(4)))
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [0, 0]
        assert counted("checked") == 6 * 500 * 3
        assert counted("listed") == 0


def test_who_outlives_the_run_tells_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LESIONS_PROGRESS", str(tmp_path / "gone"))
    count("checked", 3)
    assert counted("checked") == 0
    assert not (tmp_path / "gone").exists()


def test_elsewhere_nothing_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with shown_progress(False, PHASES):
        count("checked", 3)
        assert counted("checked") == 0
        assert list(tmp_path.iterdir()) == []


def test_a_phase_ends_when_all_is_done_or_the_next_one_begins() -> None:
    found: list[int] = []
    steps = (
        *((), (("listed", 10),), (("checked", 4),), (("checked", 6),), (("planned", 8), ("dropped", 1))),
        *((("written", 6),), (("written", 1),)),
    )
    with shown_progress(True, ()):
        for step in steps:
            for counter, number in step:
                count(counter, number)
            found.append(current_phase(PHASES, found[-1] if found else -1))
    assert found == [-1, 0, 1, 2, 2, 3, 4]


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_leaves_no_file_thread_or_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    threads = threading.active_count()
    try:
        with shown_progress(True, PHASES):
            count("listed", 10)
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert fails
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == threads
    assert "LESIONS_PROGRESS" not in os.environ


class Heard:
    """A stream that tells when a text has been written to it."""

    def __init__(self, text: str):
        self._text, self.written, self.heard = text, "", threading.Event()

    def write(self, text: str) -> None:
        self.written += text
        if self._text in self.written:
            self.heard.set()

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return False


def test_the_phases_are_shown_while_the_job_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    console.begin("prepare")
    listing, checking = Heard("prepare: listing\n"), Heard("prepare: checking 2,000 images\n")
    monkeypatch.setattr(sys, "stderr", listing)
    with shown_progress(True, PHASES):
        count("listed", 2000)
        assert listing.heard.wait(60)
        monkeypatch.setattr(sys, "stderr", checking)
        count("checked", 1)
        assert checking.heard.wait(60)
    console.begin("")
