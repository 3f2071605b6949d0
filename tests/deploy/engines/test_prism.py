"""Prism has the release of Beam that runs the jobs; without Go, the error names what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.engines.downloads import DownloadError, GoModule, build_go_program
from deploy.engines.prism import RELEASE
from tests.support.locked import locked_version


def test_its_release_is_that_of_the_lock() -> None:
    assert locked_version("apache-beam") == RELEASE


def test_without_go_it_is_said_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DownloadError, match=r"^go is missing, which downloads example\.org/module: install Go 1\.26$"):
        build_go_program(GoModule("example.org/module", "v1.0.0", "h1:"), "cmd/prism", tmp_path)
