"""Other ways to score a folder with an exported model, each as a command of its own: what `benchmarks.scoring` times.

`python -m benchmarks.scoring_rivals NAME IMAGES MODEL OUTPUT`

tfdata  what a competent engineer writes for this model, a tf.data loop around the SavedModel; the same pixels as ours.
        tfdata_batch is the same with whole batches for the model's own signature.
keras   `model.predict` on `image_dataset_from_directory`: the network as Keras model; pixels decoded and resized as
        that function does (bilinear, not antialiased, aspect ratio lost, values from 0 to 1): not those of training.
beam    Beam's published image classification examples: read and resize each image in a Map, RunInference on arrays,
        batches as Beam chooses them. Pillow's pixels, also not those of training.
"""

from __future__ import annotations

import dataclasses
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from apache_beam.ml.inference.base import PredictionResult
    from PIL import Image

BATCH = 32


def _write_parquet(output: str, paths: Sequence[str], probabilities: Sequence) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet

    columns = np.concatenate(probabilities).T
    table = {"path": list(paths), **{f"class_{index}": column for index, column in enumerate(columns)}}
    pa.parquet.write_table(pa.table(table), output)


def tfdata(images: str, model: str, output: str) -> None:
    """Images are read and standardised in parallel, then classified in batches."""
    import tensorflow as tf

    loaded = tf.saved_model.load(model)
    standardize, classify = loaded.signatures["standardize"], loaded.signatures["classify"]
    paths = [os.path.join(images, name) for name in sorted(os.listdir(images))]
    batches = (
        tf.data.Dataset.from_tensor_slices(paths)
        .map(lambda path: standardize(image_bytes=tf.io.read_file(path))["image"], num_parallel_calls=tf.data.AUTOTUNE)
        .batch(BATCH)
        .prefetch(tf.data.AUTOTUNE)
    )
    _write_parquet(output, paths, [classify(image=batch)["probabilities"].numpy() for batch in batches])


def tfdata_batch(images: str, model: str, output: str) -> None:
    """The other way to write it: batches of encoded images for the model's own signature."""
    import tensorflow as tf

    serve = tf.saved_model.load(model).signatures["serving_default"]
    paths = [os.path.join(images, name) for name in sorted(os.listdir(images))]
    batches = (
        tf.data.Dataset.from_tensor_slices(paths)
        .map(tf.io.read_file, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(BATCH)
        .prefetch(tf.data.AUTOTUNE)
    )
    _write_parquet(output, paths, [serve(image_bytes=batch)["probabilities"].numpy() for batch in batches])


def keras_predict(images: str, model: str, output: str) -> None:
    """`predict` on what `image_dataset_from_directory` gives."""
    import keras
    import tensorflow as tf

    from trainer.export.loaded_model import read_model_info
    from trainer.network.model import ModelConfig, build_model

    network = read_model_info(Path(model)).network
    size, classes = network["image_size"], network["classes"]
    given = {field.name: network[field.name] for field in dataclasses.fields(ModelConfig)}
    settings: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
    built = build_model(ModelConfig(**settings), size, classes)
    built.set_weights([weight.numpy() for weight in tf.saved_model.load(model).weights])
    inputs = keras.Input((size, size, 3))
    scorer = keras.Model(inputs, keras.layers.Softmax()(built(keras.layers.Rescaling(1 / 255)(inputs))))
    dataset = keras.utils.image_dataset_from_directory(
        images, labels=None, image_size=(size, size), batch_size=BATCH, shuffle=False, verbose=False
    )
    _write_parquet(output, dataset.file_paths, [scorer.predict(dataset, verbose=0)])


def beam_example(images: str, model: str, output: str) -> None:
    """As `apache_beam.examples.inference.tensorflow_imagenet_segmentation`, with this network and text output.

    Its stock handler needs tensorflow_hub to be imported; this one does what that does with arrays.
    """
    import apache_beam as beam
    import numpy as np
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, PredictionResult, RunInference
    from PIL import Image

    from trainer.export.loaded_model import read_model_info

    size = read_model_info(Path(model)).network["image_size"]

    class ArrayHandler(ModelHandler):
        def load_model(self) -> Any:
            import tensorflow as tf

            return tf.saved_model.load(model)

        def run_inference(
            self, batch: Sequence[np.ndarray], loaded: Any, inference_args: dict[str, Any] | None = None
        ) -> list[PredictionResult]:
            import tensorflow as tf

            found = loaded.signatures["classify"](image=tf.stack(batch, axis=0))["probabilities"]
            return [PredictionResult(array, row) for array, row in zip(batch, found.numpy(), strict=True)]

    def read_image(path: str) -> tuple[str, Image.Image]:
        with FileSystems.open(path) as file:
            return path, Image.open(io.BytesIO(file.read())).convert("RGB")

    def preprocess(path: str, image: Image.Image) -> tuple[str, np.ndarray]:
        return path, np.asarray(image.resize((size, size)), np.float32) / 255

    paths = [os.path.join(images, name) for name in sorted(os.listdir(images))]
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = (
            pipeline
            | beam.Create(paths)
            | "Read" >> beam.Map(read_image)
            | "Preprocess" >> beam.MapTuple(preprocess)
            | RunInference(KeyedModelHandler(ArrayHandler()))
            | "Line" >> beam.MapTuple(lambda path, result: ",".join([path, *map(str, result.inference)]))
            | beam.io.WriteToText(output, shard_name_template="")
        )


RIVALS = {"tfdata": tfdata, "tfdata_batch": tfdata_batch, "keras": keras_predict, "beam": beam_example}


if __name__ == "__main__":
    RIVALS[sys.argv[1]](*sys.argv[2:])
