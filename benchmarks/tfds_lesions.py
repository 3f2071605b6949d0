"""A folder as a TensorFlow Dataset, which `benchmarks.prepare` builds with `tfds build`: with Beam and without.

The images have the pixels and the encoding of `benchmarks.prepare_rivals`. Runs where tensorflow-datasets is whole:
the command needs packages that this project does not have (benchmarks/requirements.txt).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow_datasets as tfds

from benchmarks.prepare_rivals import SIZE, paths_of, square_jpeg


def _to_example(path: str) -> tuple[str, dict[str, Any]]:
    data = Path(path).read_bytes()
    name = Path(path).stem
    image = io.BytesIO(square_jpeg(data))
    return name, {"image": image, "sha256": hashlib.sha256(data).hexdigest(), "source_id": name}


class TfdsLesions(tfds.core.GeneratorBasedBuilder):
    """All images of a folder as one split."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (tfds.core.BuilderConfig(name="plain"), tfds.core.BuilderConfig(name="beam"))
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The folder of images is --manual_dir."

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(SIZE, SIZE, 3), encoding_format="jpeg"),
                    "sha256": tfds.features.Text(),
                    "source_id": tfds.features.Text(),
                }
            )
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {"train": self._generate_examples(str(dl_manager.manual_dir))}

    def _generate_examples(self, images: str) -> Iterator[tuple[str, dict[str, Any]]] | beam.PTransform:
        if self.builder_config.name == "beam":
            return beam.Create(paths_of(images)) | beam.Map(_to_example)
        return map(_to_example, paths_of(images))
