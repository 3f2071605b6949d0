"""Folders, archives and tables for inputs, and what a command does with them before any work."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.curation.command_line import print_notes, with_found_tables
from pipelines.curation.options import NO_COLUMNS
from pipelines.domain.metadata_columns import Columns
from pipelines.prepare.options import PrepareOptions
from pipelines.sources.inputs import read_inputs
from pipelines.sources.locations import check_locations


def write(path: Path, content: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return str(path)


HAM = "lesion_id,image_id,dx\nL1,ISIC_0000001,mel\n"


CLI = "isic_id,diagnosis_3,copyright_license\nISIC_0000001,Nevus,CC-0\n"


def packed(path: Path, **members: str) -> str:
    """An archive with these members; in their names, two underscores stand for a slash."""
    files = {name.replace("__", "/"): content.encode() for name, content in members.items()}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return str(path)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return str(path)


def completed(
    texts: Iterable[Path | str], metadata: Iterable[Path | str] = (), columns: Columns = NO_COLUMNS
) -> PrepareOptions:
    """What a command does with its inputs before any work."""
    inputs = read_inputs(list(map(str, texts)), list(map(str, metadata)))
    options = PrepareOptions(sources=inputs.sources, output="", metadata=inputs.metadata, columns=columns)
    check_locations(options.locations(), PipelineOptions([]))
    options = with_found_tables(options)
    print_notes(options)
    return options


def tables(options: PrepareOptions) -> list[list[str]]:
    return [[table.path for table in source.tables] for source in options.sources]
