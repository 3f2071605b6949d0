"""DirectRunner and PrismRunner start Prism themselves, with its worker in the command: the same bytes and counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.engines.prism import download_prism
from tests.engines.conftest import require_programs
from tests.support.commands import Command
from tests.support.engines import Inputs, Places, digests, prepare

pytestmark = pytest.mark.engines


@pytest.mark.parametrize("runner", ["DirectRunner", "PrismRunner"])
def test_a_prism_that_the_command_starts_gives_the_same_bytes_and_reports_counters(
    process: Command, inputs: Inputs, local: Places, tmp_path: Path, runner: str
) -> None:
    require_programs("prism")
    options = ("--runner", runner, "--prism_location", download_prism(), "--prism_log_level", "info")
    output = tmp_path / "out"
    done = prepare(process, inputs, str(output), *options)
    assert done.returncode == 0, done.stderr
    # DirectRunner would fall back to FnApiRunner silently.
    assert "pipeline done!" in done.stderr
    expected = digests(local.folder / "dataset", "*.tfrecord", "dataset.json", "manifest-*", "rejects-*")
    assert len(expected) > 4
    assert digests(output, "*.tfrecord", "dataset.json", "manifest-*", "rejects-*") == expected
    if runner == "PrismRunner":
        again = prepare(process, inputs, str(output), *options, "--update")
        assert again.returncode == 0, again.stderr
        (counted,) = (line.split() for line in again.stdout.splitlines() if "were there already" in line)
        assert counted[1] == counted[3] != "0"
