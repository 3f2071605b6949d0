"""How long the last run took is kept, and tells what to expect."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.common import last_run


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/isic-lesions/last_runs.json"


def test_a_run_tells_of_larger_and_smaller_ones() -> None:
    last_run.note("prepare", 1000, 60.0)
    last_run.note("score", 2000, 10.0)
    assert [last_run.dry_run_lines("prepare", files)[0] for files in (10, 10_000)] == [
        "about 60 s at most: the last run on this machine took 60 s for 1,000 files",
        "about 10 min at most: the last run on this machine took 60 s for 1,000 files",
    ]
    assert last_run.dry_run_lines("score", 4000)[0].startswith("about 20 s at most")
    assert last_run.dry_run_lines("score", 1)[1:] == ["dry run: no image was read, and nothing written"]


def test_small_runs_and_unreadable_notes_tell_nothing(cache: Path) -> None:
    last_run.note("prepare", last_run.LEAST_FILES - 1, 60.0)
    assert not cache.exists()
    for content in ("", "[]"):
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(content)
        assert last_run.dry_run_lines("prepare", 1)[0] == "no earlier run on this machine tells how long it will take"


def test_where_nothing_can_be_written_nothing_is_kept(cache: Path) -> None:
    cache.parent.parent.write_text("a file")
    last_run.note("prepare", 1000, 60.0)
    assert last_run.dry_run_lines("prepare", 1)[0].startswith("no earlier run")
