"""What decides the bytes of a dataset: options and versions; and the names of its files."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

from PIL import features

from pipelines.imaging.encoding import coder_versions
from pipelines.prepare.options import PrepareOptions

OWN_FILES = re.compile(
    r"(train|validation|test)-\d{5}-of-\d{5}\.tfrecord(\.gz)?$|(manifest|rejects|known|past)-\d{5}-of-\d{5}\.(parquet|jsonl)$"
    r"|(transform_fn|standardize_fn)/(saved_model\.pb|fingerprint\.pb|variables/variables\.[\w-]+|assets/class_counts)$"
    r"|transformed_metadata/(schema\.pbtxt|asset_map)$|schema\.pbtxt$|dataset\.json$|prepare\.json$|report\.(html|md)$"
    r"|dataset_info\.json$|features\.json$|image-class-label\.labels\.txt$"
)


def settings_of(options: PrepareOptions) -> dict[str, Any]:
    """Return the settings that, with the images and classes, determine the records."""
    return {
        **options.record_spec.settings(),
        "options": options.record_settings(),
        "versions": pixel_versions(options.encoding, options.compression),
    }


# Increase it when a change to this project alters the records for the same images and options.
RECORD_FORMAT = 3


def pixel_versions(encoding: str = "jpeg", compression: str = "none") -> dict[str, str]:
    """Return the versions of everything that decodes, resizes, augments and encodes, by name.

    They are part of the dataset's fingerprint. Of zlib only what deflates is among them: every version inflates alike,
    and which one Pillow names depends on whether TensorFlow was loaded before it.
    """
    return {
        "record_format": str(RECORD_FORMAT),
        "pillow": version("pillow"),
        "libjpeg_turbo": features.version("libjpeg_turbo") or "none",
        "numpy": version("numpy"),
        "tensorflow": version("tensorflow"),
        "tensorflow_transform": version("tensorflow-transform"),
        "apache_beam": version("apache-beam"),
        **coder_versions(encoding, compression),
    }
