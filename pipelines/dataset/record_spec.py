"""What decides the bytes of a dataset's records, besides its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.imaging.forms import describe_encoding


@dataclass(frozen=True)
class RecordSpec:
    """How images become records. The same image, copy and spec give the same record."""

    classes: tuple[str, ...]  # names in label order
    image_size: int = 180  # side in pixels
    aspect: str = "crop"  # how a photograph becomes a square, one of `forms.ASPECTS`
    encoding: str = "jpeg"  # of `image/encoded`, one of `forms.ENCODINGS`
    compression: str = "none"  # of the shards, one of `dataset_json.COMPRESSIONS`
    seed: int = 0  # decides augmentation, the shard of an image and the order of records

    def settings(self) -> dict[str, Any]:
        """Return what dataset.json says of it beside the classes."""
        return {
            "image_size": self.image_size,
            "aspect": self.aspect,
            "encoding": describe_encoding(self.encoding),
            "compression": self.compression,
            "seed": self.seed,
        }
