"""The exported model: five signatures that agree, and nothing needed but TensorFlow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines.domain.decision_rule import decision_values
from tests.support.scoring import model_json
from tests.support.tiny_dataset import CLASSES, HELD_OUT_COUNT, SIZE, draw, jpeg
from trainer.data.dataset_info import read_dataset_info
from trainer.data.input_pipeline import evaluation_batches
from trainer.data.preprocessing import Preprocessing
from trainer.export.calibration import example_weights, expected_calibration_error, fit_temperature, tempered
from trainer.export.saved_model import pooled_features, weights_fingerprint
from trainer.network.model import ModelConfig, build_model

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def model(trained: Path) -> Any:
    return tf.saved_model.load(str(trained / "model"))


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    """Raw image files of another size than the network's."""
    return [jpeg(draw(label, 3000 + index, size=57)) for label in range(len(CLASSES)) for index in range(2)]


@pytest.fixture(scope="module")
def served(model: Any, files: list[bytes]) -> np.ndarray:
    return model.signatures["serving_default"](image_bytes=tf.constant(files))["probabilities"].numpy()


def test_signatures_have_the_promised_names_and_types(model: Any) -> None:
    expected = {
        "serving_default": ("image_bytes", tf.string, [None], "probabilities", [None, 4]),
        "standardize": ("image_bytes", tf.string, [], "image", [SIZE, SIZE, 3]),
        "classify": ("image", tf.float32, [None, SIZE, SIZE, 3], "probabilities", [None, 4]),
        "records": ("image_encoded", tf.string, [None], "probabilities", [None, 4]),
        "normalise": ("image_encoded", tf.string, [None], "image", [None, SIZE, SIZE, 3]),
        "class_activation": ("image", tf.float32, [None, SIZE, SIZE, 3], "activation", [None, 1, 1, 4]),
    }
    assert set(model.signatures) == set(expected)
    for name, (source, dtype, shape, target, target_shape) in expected.items():
        signature = model.signatures[name]
        inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
        assert list(inputs) == [source]
        assert list(outputs) == [target]
        assert inputs[source].dtype == dtype
        assert inputs[source].shape.as_list() == shape
        assert outputs[target].dtype == tf.float32
        assert outputs[target].shape.as_list() == target_shape


def test_probabilities_sum_to_one_and_mostly_name_the_class_that_was_drawn(served: np.ndarray) -> None:
    assert served.dtype == np.float32
    np.testing.assert_allclose(served.sum(axis=1), 1, atol=1e-5)
    assert (served.argmax(axis=1) == np.repeat(np.arange(len(CLASSES)), 2)).mean() > 0.8


def test_serving_and_records_see_the_same_pixels(
    model: Any, dataset: Path, files: list[bytes], served: np.ndarray
) -> None:
    # The way of the TFRecords: prepare's standardisation, stored bytes, then the network.
    standardize = tf.saved_model.load(str(dataset / "standardize_fn")).standardize
    encoded = tf.stack([standardize(file) for file in files])
    records = model.signatures["records"](image_encoded=encoded)["probabilities"]
    np.testing.assert_allclose(records, served, atol=TOLERANCE)
    pixels = model.signatures["normalise"](image_encoded=encoded)["image"]
    each = [model.signatures["standardize"](image_bytes=tf.constant(file))["image"] for file in files]
    assert np.array_equal(pixels, each)


def test_the_two_halves_make_the_whole(model: Any, files: list[bytes], served: np.ndarray) -> None:
    images = tf.stack([model.signatures["standardize"](image_bytes=tf.constant(file))["image"] for file in files])
    halves = model.signatures["classify"](image=images)["probabilities"]
    np.testing.assert_allclose(halves, served, atol=TOLERANCE)


def test_an_image_gets_the_same_answer_alone(model: Any, files: list[bytes], served: np.ndarray) -> None:
    for file, row in zip(files, served, strict=True):
        alone = model.signatures["serving_default"](image_bytes=tf.constant([file]))["probabilities"]
        np.testing.assert_allclose(alone[0], row, atol=TOLERANCE)


@pytest.fixture(scope="module")
def pixels(model: Any, files: list[bytes]) -> tf.Tensor:
    """The files as the network sees them."""
    return tf.stack([model.signatures["standardize"](image_bytes=tf.constant(file))["image"] for file in files])


def test_class_activation_maps_are_what_the_probabilities_are_made_of(
    model: Any, trained: Path, pixels: tf.Tensor
) -> None:
    maps = model.signatures["class_activation"](image=pixels)["activation"].numpy()
    bias = model.weights[-1].numpy()
    assert bias.shape == (len(CLASSES),)
    probabilities = model.signatures["classify"](image=pixels)["probabilities"]
    calibration = model_json(trained / "model")["calibration"]
    prior = np.array([calibration["prior"][name] for name in CLASSES])
    logits = tempered(maps.mean(axis=(1, 2)) + bias, calibration["temperature"], np.log(prior))
    np.testing.assert_allclose(tf.nn.softmax(logits), probabilities, atol=TOLERANCE)
    # What is said where all classes are equally frequent has the order of the network's own logits.
    order = (maps.mean(axis=(1, 2)) + bias - np.log(prior)).argmax(axis=1)
    assert decision_values(probabilities.numpy(), prior).argmax(axis=1).tolist() == order.tolist()


@pytest.mark.parametrize("squeeze_excite", [0, 8])
def test_the_head_is_found_behind_other_pooling(squeeze_excite: int) -> None:
    keras.utils.set_random_seed(0)
    network = build_model(ModelConfig(width=0.25, depth=1, squeeze_excite=squeeze_excite), 96, 3)
    features, head = pooled_features(network)
    head.bias.assign([0.5, -1.0, 2.0])
    assert features.shape == (None, 3, 3, 72)
    images = np.random.default_rng(1).normal(size=(2, 96, 96, 3)).astype(np.float32)
    maps = keras.Model(network.input, features)(images, training=False).numpy() @ head.kernel.numpy()
    logits = network(images, training=False)
    np.testing.assert_allclose(maps.mean(axis=(1, 2)) + head.bias.numpy(), logits, atol=1e-4)
    # Not the same everywhere: a map, not the mean.
    assert maps.std(axis=(1, 2)).min() > 1e-4


def test_a_network_without_pooling_before_its_head_is_refused() -> None:
    images = keras.Input((8, 8, 3))
    layers = keras.layers
    hidden = layers.Dense(4, activation="relu")(layers.GlobalAveragePooling2D()(images))
    for head, says in (
        (layers.Dense(2)(layers.Flatten()(images)), "not by GlobalAveragePooling2D"),
        (layers.Dense(2)(hidden), "not by GlobalAveragePooling2D"),
        (layers.Dense(2, activation="softmax")(hidden), "not a linear Dense layer"),
    ):
        with pytest.raises(ValueError, match=says):
            pooled_features(keras.Model(images, head))


def test_a_bad_file_fails(model: Any) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        model.signatures["standardize"](image_bytes=tf.constant(b"not an image"))


def test_the_model_reaches_its_stated_accuracy_on_the_records(model: Any, trained: Path, dataset: Path) -> None:
    hits = []
    for batch in evaluation_batches(read_dataset_info(dataset), "validation", 6):
        probabilities = model.signatures["records"](image_encoded=batch["image/encoded"])["probabilities"]
        hits += (np.argmax(probabilities, axis=1) == batch["image/class/label"].numpy()).tolist()
    stated = model_json(trained / "model")["metrics"]["validation"]
    # As many of each class: accuracy is balanced accuracy.
    assert np.mean(hits) == pytest.approx(stated["balanced_accuracy"])
    assert len(hits) == stated["n"]


def test_calibration_and_operating_points_are_those_of_the_validation_images(
    model: Any, trained: Path, dataset: Path
) -> None:
    """Counted once more from what the exported model says, of one view and of eight."""
    said = model_json(trained / "model")
    preprocessing = Preprocessing(read_dataset_info(dataset))
    (batch,) = evaluation_batches(read_dataset_info(dataset), "validation", 100)
    labels = batch["image/class/label"].numpy()
    pixels = preprocessing.normalise(batch["image/encoded"]).numpy()
    views = [np.rot90(side, turns, (1, 2)) for side in (pixels, pixels[:, :, ::-1]) for turns in range(4)]
    each = [model.signatures["classify"](image=tf.constant(view))["probabilities"].numpy() for view in views]
    temperature, prior = said["calibration"]["temperature"], np.array([*said["calibration"]["prior"].values()])
    weights = example_weights(labels, prior)
    # Logits but for a constant of each image.
    logits = tempered(np.log(each[0].astype(np.float64)), 1 / temperature, np.log(prior))
    assert temperature == pytest.approx(fit_temperature(logits, labels, weights, np.log(prior)), rel=2e-3)
    for name, chosen in (("as_prior", weights), ("as_photographed", None)):
        errors = said["calibration"]["expected_calibration_error"][name]
        assert errors["after"] == pytest.approx(expected_calibration_error(each[0], labels, chosen), abs=1e-4)
        before = tf.nn.softmax(logits).numpy()
        assert errors["before"] == pytest.approx(expected_calibration_error(before, labels, chosen), abs=1e-4)
    melanoma = CLASSES.index("melanoma")
    for name, probabilities in (("one_view", each[0]), ("eight_views", np.mean(each, axis=0))):
        points = said["operating_points"][name]
        assert [point["target"] for point in points] == [0.8, 0.9, 0.95, 0.98]
        for point in points:
            flagged = probabilities[:, melanoma] >= point["threshold"]
            assert (point["malignant"], point["benign"]) == (HELD_OUT_COUNT, 3 * HELD_OUT_COUNT)
            assert flagged[labels == melanoma].mean() == point["sensitivity"] >= point["target"]
            assert (~flagged)[labels != melanoma].mean() == point["specificity"]


def test_model_json_describes_dataset_network_and_figures(trained: Path, dataset: Path) -> None:
    document, info = model_json(trained / "model"), read_dataset_info(dataset)
    assert document["schema_version"] == 3
    assert document["classes"] == list(CLASSES)
    assert document["malignant_classes"] == ["melanoma"]
    assert (document["image_size"], document["aspect"]) == (SIZE, "stretch")
    assert (document["dataset_fingerprint"], document["fold"]) == (info.fingerprint, -1)
    assert len(document["model_fingerprint"]) == len(document["weights_fingerprint"]) == 64
    assert document["train_class_distribution"] == info.train_distribution()
    assert document["network"]["width"] == 0.25
    # So that models that differ in nothing else have different fingerprints of their weights.
    assert document["network"]["temperature"] == document["calibration"]["temperature"]
    assert document["versions"]["tensorflow"] == tf.__version__


def test_the_fingerprint_of_weights_covers_network_and_dataset() -> None:
    weights = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(3, np.float32)]
    network, dataset = {"width": 1.0, "depth": 2}, "d" * 64
    first = weights_fingerprint(weights, network, dataset)
    assert len(first) == 64
    again = weights_fingerprint([weight.copy() for weight in weights], dict(reversed(network.items())), dataset)
    assert again == first
    others = [
        weights_fingerprint(weights[::-1], network, dataset),
        weights_fingerprint([weights[0].reshape(3, 2), weights[1]], network, dataset),
        weights_fingerprint([weights[0].astype(np.float64), weights[1]], network, dataset),
        weights_fingerprint([weights[0] + 1, weights[1]], network, dataset),
        weights_fingerprint(weights, {**network, "depth": 3}, dataset),
        weights_fingerprint(weights, network, "e" * 64),
    ]
    assert len({first, *others}) == 7


FRESH = """
import json, sys
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
files = tf.constant([open(path, "rb").read() for path in sys.argv[2:]])
probabilities = model.signatures["serving_default"](image_bytes=files)["probabilities"]
classes = json.loads(tf.io.read_file(model.metadata.asset_path).numpy())["classes"]
extra = sorted({name.split(".")[0] for name in sys.modules} & {"keras", "trainer", "pipelines", "apache_beam"})
print(json.dumps([probabilities.numpy().tolist(), classes, extra]))
"""


def test_loads_where_there_is_only_tensorflow(
    trained: Path, files: list[bytes], served: np.ndarray, tmp_path: Path
) -> None:
    # Moved away from where it was made, and without the project on the path.
    moved = tmp_path / "elsewhere"
    (trained / "model").rename(moved)
    try:
        paths = []
        for index, file in enumerate(files):
            paths.append(tmp_path / f"{index}.jpg")
            paths[-1].write_bytes(file)
        done = subprocess.run(
            [sys.executable, "-I", "-c", FRESH, str(moved), *map(str, paths)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
    finally:
        moved.rename(trained / "model")
    assert done.returncode == 0, done.stderr
    probabilities, classes, extra = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(probabilities, served, atol=TOLERANCE)
    assert classes == list(CLASSES)
    assert "trainer" not in extra
    assert "apache_beam" not in extra
