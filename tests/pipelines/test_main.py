"""One command for all: it runs each by its name, and is what messages call it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.__main__ import COMMANDS, main
from tests.support.killing import ROOT


def isic_lesions(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize("given", [[], ["--help"], ["-h"], ["help"]])
def test_without_a_command_all_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["isic-lesions", *given])
    main()
    said = capsys.readouterr().out
    assert said.startswith("usage: isic-lesions ")
    assert [line.split()[0] for line in said.splitlines() if line.startswith("  ")] == list(COMMANDS)


def test_every_command_is_there() -> None:
    assert all(importlib.util.find_spec(module) for module, _ in COMMANDS.values())


def test_the_version_names_what_decides_the_bytes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["isic-lesions", "--version"])
    main()
    said = capsys.readouterr().out
    assert said.startswith("isic-lesions 0.")
    assert all(name in said for name in ("Python 3.", "apache-beam 2.", "tensorflow 2.", "pillow "))


def test_an_unknown_command_is_one_line_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["isic-lesions", "prepair"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("isic-lesions: error: unknown command 'prepair' (nearest prepare); there")


def test_a_command_keeps_its_arguments_and_exit_code_and_is_called_as_the_user_called_it(tmp_path: Path) -> None:
    refused = isic_lesions("verify", tmp_path / "none")
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"isic-lesions verify: error: DATASET {tmp_path / 'none'}: ")
    assert isic_lesions("score", "--help").stdout.startswith("usage: isic-lesions score --input PATH ")
    drawn = isic_lesions("sample", "--output", tmp_path / "sample")
    assert drawn.returncode == 0, drawn.stderr
    assert list(tmp_path.glob("sample/images/*/*.jpg"))
