"""Ask for known vulnerabilities of what locks pin: `python -m deploy.release.audit LOCK...`, in .venv-tools.

pip-audit asks the package index. A package that the index does not know is not audited, and pip-audit counts that as no
fault; here it is one, since an index without such a service would pass everything. Exit codes: 0 nothing known, 1 a
vulnerability, 3 not everything could be asked for.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Findings(NamedTuple):
    """What is known of all packages: lines to print, and the exit code."""

    lines: list[str]
    code: int


class NotAskedError(Exception):
    """The list of vulnerabilities could not be asked."""


def judge(packages: Sequence[Mapping[str, Any]]) -> Findings:
    """Return what to say of pip-audit's answers.

    Args:
        packages: `dependencies` of its output in JSON.
    """
    distinct = list({(package["name"], package.get("version")): package for package in packages}.values())
    lines = [
        f"{package['name']} {package['version']}: {found['id']}, "
        + (f"mended in {', '.join(found['fix_versions'])}" if found["fix_versions"] else "not mended yet")
        for package in distinct
        for found in package.get("vulns", [])
    ]
    vulnerable = len(lines)
    unknown = sorted({package["name"] for package in distinct if "skip_reason" in package})
    if unknown:
        few = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        lines.append(
            f"NOT AUDITED: the package index told nothing of {len(unknown)} packages ({few}); "
            "audit where the public index is reached, as a mirror may lack the list of vulnerabilities"
        )
    lines.append(f"{len(distinct) - len(unknown)} packages audited, {vulnerable} vulnerabilities known")
    return Findings(lines, 1 if vulnerable else 3 if unknown or not distinct else 0)


def ask(lock: str) -> list[dict[str, Any]]:
    """Run pip-audit on a lock and return what it says of each package.

    Raises:
        NotAskedError: It gave no answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--disable-pip", "--require-hashes"]
        done = subprocess.run(
            [*command, "--format", "json", "--output", answer, "--requirement", lock],
            capture_output=True,
            text=True,
            check=False,
        )
        if not answer.exists():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise NotAskedError(f"NOT AUDITED: {lock}: {last[:300]}")
        return json.loads(answer.read_text(encoding="utf-8"))["dependencies"]


def main(locks: Sequence[str]) -> int:
    """Print what is known of what the locks pin.

    Returns:
        The exit code.
    """
    try:
        findings = judge([package for lock in locks for package in ask(lock)])
    except NotAskedError as error:
        findings = Findings([str(error)], 3)
    print("\n".join(findings.lines))
    return findings.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
