"""What an answer of pip-audit means."""

from __future__ import annotations

from typing import Any

from deploy.release.audit import judge

SOUND = {"name": "numpy", "version": "2.4.6", "vulns": []}
VULNERABLE = {"name": "pillow", "version": "12.3.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["12.3.1"]}]}
UNKNOWN = {"name": "keras", "skip_reason": "Dependency not found"}


def test_nothing_known_is_exit_code_0() -> None:
    assert judge([SOUND, SOUND]) == (["1 packages audited, 0 vulnerabilities known"], 0)


def test_a_vulnerability_is_named_with_its_remedy_and_is_exit_code_1() -> None:
    lines, code = judge([SOUND, VULNERABLE, VULNERABLE, UNKNOWN])
    assert lines[0] == "pillow 12.3.0: PYSEC-1, mended in 12.3.1"
    assert lines[-1] == "2 packages audited, 1 vulnerabilities known"
    assert code == 1
    unmended: dict[str, Any] = {**VULNERABLE, "vulns": [{"id": "PYSEC-1", "fix_versions": []}]}
    assert judge([unmended]).lines[0] == "pillow 12.3.0: PYSEC-1, not mended yet"


def test_an_index_that_knows_no_vulnerabilities_passes_nothing() -> None:
    lines, code = judge([SOUND, UNKNOWN])
    assert lines[0].startswith("NOT AUDITED: the package index told nothing of 1 packages (keras); audit where")
    assert code == 3
    assert judge([]).code == 3
