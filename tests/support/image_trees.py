"""Folders of files that are named like images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipelines.domain import image_ids
from pipelines.sources.list_files import list_files
from pipelines.sources.source_file import SourceFile


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def list_images(root: Path | str) -> Iterator[SourceFile]:
    return (file for file in list_files(str(root)) if image_ids.is_image_name(file.path))
