"""Help is short where it is first asked for, and whole where all of it is."""

from __future__ import annotations

import pytest

from pipelines.__main__ import COMMANDS
from tests.support.commands import Command

LINES = 60


@pytest.mark.parametrize("module", [module for module, _ in COMMANDS.values()])
def test_the_first_help_fits_a_screen(command: Command, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = command(module, "--help").stdout
    assert 10 < len(said.splitlines()) <= LINES
    if "--help_all" in said:
        whole = command(module, "--help_all").stdout
        assert len(whole.splitlines()) > len(said.splitlines())
