"""Command line that shows images of a prepared dataset (`python -m pipelines.show`).

It writes only the file given with `--output`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.common import console
from pipelines.common.cli import UsageError
from pipelines.dataset.description_reader import read_description, require_unchanged
from pipelines.dataset.records import DamagedShard
from pipelines.domain.dataset_json import DATASET_JSON, DatasetDescription
from pipelines.show.options import FORMATS, extension, parse_options, require_file
from pipelines.storage import claims, filesystem
from pipelines.storage.access import require_readable


def _require_dataset(folder: str) -> DatasetDescription:
    description = read_description(folder, folder)
    if description is None:
        claims.require_free(folder, "DATASET")
        raise UsageError(f"{folder}: holds no {DATASET_JSON}; name a folder that pipelines.prepare has finished")
    return description


def main(argv: Sequence[str] | None = None) -> None:
    """Show images of a dataset: print a summary, and write a sheet if one is asked for.

    Args:
        argv: Arguments without the program name; None for `sys.argv`.

    Raises:
        UsageError: An option is wrong, or the dataset cannot be read or is damaged.
    """
    options = parse_options(argv)
    require_readable("DATASET", options.dataset)
    if options.output:
        require_file(options.output, options.dataset, options.overwrite)
    description = _require_dataset(options.dataset)
    console.say(f"reading {options.dataset}", phase="starting")
    # What reads a dataset and draws is imported once there is one.
    from pipelines.imaging.images import BadImage
    from pipelines.show import sheets

    try:
        sheet = (
            sheets.several_images(options, description)
            if options.name is None
            else sheets.one_image(options, description, options.name)
        )
        content = (
            sheets.encode_sheet(sheet, description, FORMATS[extension(options.output)]) if options.output else None
        )
    except (DamagedShard, BadImage, OSError) as error:
        require_unchanged(f"DATASET {options.dataset}", options.dataset, description)
        if isinstance(error, OSError):
            raise
        raise UsageError(f"{options.dataset}: is damaged: {error}; prepare it again") from error
    if options.name is not None:
        print("\n".join(line for entry in sheet.entries for line in sheets.fact_lines(entry)))
    print(sheet.line)
    if content is not None:
        filesystem.write_bytes(options.output, content)
        print(f"wrote {options.output}")
