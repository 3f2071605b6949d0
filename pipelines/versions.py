"""Name the versions of everything that determines pixels and records."""

from __future__ import annotations

from importlib.metadata import version

from PIL import features

from pipelines.encoding import coder_versions

# Increase it when a change to this project alters the records for the same images and options.
RECORD_FORMAT = 1


def pixel_versions(encoding: str = "jpeg", compression: str = "none") -> dict[str, str]:
    """Return the versions of everything that decodes, resizes, augments and encodes, by name.

    They are part of the dataset's fingerprint.
    """
    return {
        "record_format": str(RECORD_FORMAT),
        "pillow": version("pillow"),
        "libjpeg_turbo": features.version("libjpeg_turbo") or "none",
        "zlib": features.version("zlib") or "none",
        "numpy": version("numpy"),
        "tensorflow": version("tensorflow"),
        "tensorflow_transform": version("tensorflow-transform"),
        "apache_beam": version("apache-beam"),
        **coder_versions(encoding, compression),
    }
