"""The last step of a job: its files in place, the marker last."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.beam.publish import Publish
from pipelines.storage import filesystem, output
from tests.support.collecting import run

OWN = re.compile(r"part-\d+$|done\.json$")


def test_publish_replaces_own_files_only_and_ends_with_the_marker(tmp_path: Path) -> None:
    for name in ("part-1", "part-2", "done.json", "thesis.txt"):
        (tmp_path / name).write_text("old")
    output.begin(str(tmp_path))
    filesystem.write_bytes(f"{output.publish_folder(str(tmp_path))}/part-1", b"new")
    filesystem.write_bytes(f"{output.publish_folder(str(tmp_path))}/nested/x", b"new")
    run([b"{}"], Publish(str(tmp_path), OWN, "done.json"))
    assert sorted(filesystem.list_tree(str(tmp_path))) == ["done.json", "nested/x", "part-1", "thesis.txt"]
    assert (tmp_path / "part-1").read_text() == "new"
    assert (tmp_path / "thesis.txt").read_text() == "old"
