"""What an update takes from the dataset that it builds on."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from pipelines.curation.decode_cache import is_readable_cache
from pipelines.curation.given_splits import is_seekable, require_dataset_splits, same_pixels, same_versions
from pipelines.dataset.reader import require_description
from pipelines.domain.dataset_json import DATASET_JSON
from pipelines.prepare.options import PrepareOptions
from pipelines.prepare.settings import OWN_FILES, pixel_versions, settings_of
from pipelines.storage import filesystem, output


class Earlier(NamedTuple):
    """Dataset folders that an update may reuse; empty where nothing can be reused."""

    known: str = ""  # whose decoding results may be used, see `known_images`
    records: str = ""  # whose records may be used, see `reuse`


def earlier_of(options: PrepareOptions) -> Earlier:
    """Return what the dataset in the output folder offers to an update with these options.

    Raises:
        UsageError: If the dataset.json in the output folder cannot be used.
    """
    if not options.update or not options.splits_from:
        return Earlier()
    description, settings = require_description("--output", options.output), settings_of(options)
    return Earlier(
        options.output if is_readable_cache(options.output) and same_versions(description, pixel_versions()) else "",
        options.output if is_seekable(description) and same_pixels(description, settings) else "",
    )


def building_on_output(options: PrepareOptions) -> PrepareOptions:
    """Return the options of an update, with the splits of the dataset in the output folder if there is one.

    An interrupted publication of that dataset is finished first.

    Raises:
        UsageError: If the dataset's splits or folds cannot be kept.
    """
    output.finish_interrupted(options.output, OWN_FILES)
    if not filesystem.exists(filesystem.join(options.output, DATASET_JSON)):
        print(f"no dataset to update in {options.output} yet: a new one is made")
        return options
    require_dataset_splits("--output", options.output, options.folds)
    return dataclasses.replace(options, splits_from=options.output)
