"""What a command imports, asked of a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
# Each takes from a twentieth of a second to several seconds to import.
HEAVY = (
    *("apache_beam", "google.cloud.storage", "jinja2", "keras", "matplotlib", "numpy", "pandas", "PIL", "pyarrow"),
    *("scipy", "sklearn", "tensorflow", "tensorflow_transform"),
)
_CODE = """
import json, sys
from pipelines.common.cli import run_command
from tests.support.commands import entry_point

module, heavy, lines = json.loads(sys.argv[1])
main = entry_point(module)
codes = []
for line in lines:
    try:
        run_command(module, main, line)
    except SystemExit as ended:
        codes.append(ended.code)
print(json.dumps([codes, [name for name in heavy if name in sys.modules]]))
"""


class Started(NamedTuple):
    """How a command ended, each time, and what it had imported by then."""

    codes: list[int]
    imported: list[str]
    stderr: str


def started(module: str, lines: Iterable[Iterable[object]]) -> Started:
    """Run a command with several command lines, one after the other in one new process."""
    given = [module, HEAVY, [list(map(str, line)) for line in lines]]
    done = subprocess.run(
        [sys.executable, "-c", _CODE, json.dumps(given)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    codes, imported = json.loads(done.stdout.splitlines()[-1])
    return Started(codes, imported, done.stderr)
