"""Size and checksum of files: the same for the same bytes, on disks and in buckets."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.storage import filesystem
from pipelines.storage.file_states import FileState, file_states
from tests.support.gcs import local_gcs

FILES = {"a": b"123456789", "deep/b": b"", "c": b"x" * 3_000_000}
# CRC-32C's check value is 0xE3069283.
CHECK = FileState(9, "4waSgw==")


def test_states_are_those_of_the_bytes_wherever_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with local_gcs(tmp_path, "lesions", page=2) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        found = []
        for folder in (str(tmp_path / "out"), "gs://lesions/out"):
            for name, content in FILES.items():
                filesystem.write_bytes(f"{folder}/{name}", content)
            found.append(file_states(folder, [*FILES, "missing"]))
            assert file_states(folder, ["a"]) == {"a": CHECK}
            assert file_states(f"{folder}/none", ["a"]) == {}
    assert found[0] == found[1]
    assert found[0].keys() == FILES.keys()
