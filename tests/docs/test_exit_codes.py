"""What an exit code means is said in the same words by every command and page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.common.cli import EXIT_CODES, EXIT_LIMIT, EXIT_USAGE
from tests.support.commands import Command

ROOT = Path(__file__).resolve().parents[2]
_ROW = re.compile(r"^\| (\d+) \| ([^|]+) \|", re.MULTILINE)


def _codes(page: str) -> dict[int, str]:
    text = (ROOT / page).read_text()
    table = text[text.index("| code | meaning |") :].partition("\n\n")[0]
    return {int(code): meaning for code, meaning in _ROW.findall(table)}


def test_the_readme_has_all() -> None:
    assert _codes("README.md") == EXIT_CODES


@pytest.mark.parametrize("page", ["docs/scoring.md", "docs/training.md"])
def test_a_page_has_those_of_its_command(page: str) -> None:
    found = _codes(page)
    assert len(found) > 4
    assert found.items() <= EXIT_CODES.items()


@pytest.mark.parametrize("module", ["pipelines.prepare", "pipelines.score", "pipelines.verify", "trainer.task"])
def test_a_help_has_all(command: Command, module: str) -> None:
    said = command(module, "--help").stdout.partition("exit codes:\n")[2]
    found = {int(line.split()[0]): line.split(maxsplit=1)[1] for line in said.splitlines()}
    assert found == EXIT_CODES


def test_the_nightly_dag_knows_them() -> None:
    text = (ROOT / "deploy/airflow/score_nightly.py").read_text()
    found = dict(re.findall(r"^([A-Z_]+) = (\d+)$", text, re.MULTILINE))
    assert found == {"TOO_MANY_REJECTS": str(EXIT_LIMIT), "WRONG_USE": str(EXIT_USAGE)}
