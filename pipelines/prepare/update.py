"""What an update takes from the dataset that it builds on."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

from pipelines.curation.decode_cache import is_readable_cache
from pipelines.curation.recorded_splits import require_dataset_splits, require_folds
from pipelines.dataset.description_reader import described, require_description
from pipelines.domain.dataset_json import DATASET_JSON, DatasetDescription
from pipelines.prepare.options import PrepareOptions
from pipelines.prepare.settings import OWN_FILES, settings_of
from pipelines.storage import filesystem, output


def _same_pixels(description: DatasetDescription, settings: Mapping[str, Any]) -> bool:
    """Return whether records of the dataset hold what these settings would write for the same image and copy."""
    names = ("image_size", "aspect", "encoding", "seed", "versions")
    return all(description.document[name] == settings[name] for name in names)


def _is_seekable(description: DatasetDescription) -> bool:
    """Return whether single records can be read from the dataset's shards."""
    return description.compression == "none"


def earlier_of(options: PrepareOptions) -> str:
    """Return the dataset whose records an update with these options may use again; empty if there is none.

    Raises:
        UsageError: If the dataset.json in the output folder cannot be used.
    """
    if not options.update or not options.splits_from:
        return ""
    description, settings = require_description("--output", options.output), settings_of(options)
    # Records say nothing of quality.
    usable = (
        not options.exclude
        and _is_seekable(description)
        and _same_pixels(description, settings)
        and is_readable_cache(options.output)
    )
    return options.output if usable else ""


def building_on_output(options: PrepareOptions) -> PrepareOptions:
    """Return the options of an update, with the splits of the dataset in the output folder if there is one.

    An interrupted publication of that dataset is finished first, unless its folds cannot be kept.

    Raises:
        UsageError: If the dataset's splits or folds cannot be kept.
    """
    if pending := output.interrupted_content(options.output):
        # What is damaged is not finished.
        with contextlib.suppress(ValueError):
            description = described(pending, f"--output {options.output}")
            require_folds("--output", options.output, description, options.folds)
    output.finish_interrupted(options.output, OWN_FILES)
    if not filesystem.exists(filesystem.join(options.output, DATASET_JSON)):
        print(f"no dataset to update in {options.output} yet: a new one is made")
        return options
    require_dataset_splits("--output", options.output, options.folds)
    return dataclasses.replace(options, splits_from=options.output)
