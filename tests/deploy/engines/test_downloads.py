"""What is downloaded is kept once, whole and as pinned."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deploy.engines import downloads
from deploy.engines.downloads import DownloadError, check_sums, download_once


@pytest.fixture(autouse=True)
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(downloads, "ENGINES", tmp_path / "engines")
    return tmp_path / "engines"


def test_a_download_is_made_once(engines: Path) -> None:
    calls = []

    def make(folder: Path) -> None:
        calls.append(folder)
        (folder / "file").write_text("content")

    first, second = download_once("engine-1", make), download_once("engine-1", make)
    assert first == second == engines / "engine-1"
    assert (first / "file").read_text() == "content"
    assert len(calls) == 1


def test_a_download_that_fails_leaves_nothing_behind(engines: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "half").touch()
        raise DownloadError("nobody answers")

    with pytest.raises(DownloadError):
        download_once("engine-1", make)
    assert not list(engines.iterdir())


def test_a_jar_that_is_not_as_pinned_is_refused_by_name(tmp_path: Path) -> None:
    jars = [tmp_path / name for name in ("a.jar", "b.jar")]
    pinned = tmp_path / "jars.sha256"
    for jar in jars:
        jar.write_text(jar.name)
    lines = [f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n" for jar in jars]
    pinned.write_text("".join(lines))
    check_sums(pinned, jars)
    jars[1].write_text("another")
    with pytest.raises(DownloadError) as caught:
        check_sums(pinned, jars)
    assert str(caught.value) == f"b.jar is not as pinned in {pinned} (1 of 2 files)"
    with pytest.raises(DownloadError, match=r"^b\.jar is not"):
        check_sums(pinned, jars[:1])
    pinned.write_text(lines[0])
    with pytest.raises(DownloadError, match=r"^b\.jar is not"):
        check_sums(pinned, jars)
