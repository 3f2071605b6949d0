"""Networks of keras.applications in place of ours: the same pixels, weights from a file, the same export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.applications import efficientnet

from pipelines.common.cli import UsageError
from tests.support.commands import Command, besides_progress
from tests.support.tiny_dataset import CLASSES, HELD_OUT_COUNT, ROOT, SIZE, draw, jpeg, training
from trainer.network.backbones import build_backbone, check_backbone

NAME = "MobileNetV3Small"


@pytest.fixture(scope="module")
def network() -> Any:
    keras.utils.set_random_seed(0)
    return keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=(64, 64, 3))


@pytest.fixture(scope="module")
def weights(network: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "backbone.weights.h5"
    network.save_weights(path)
    return str(path)


@pytest.mark.parametrize("synchronized", [False, True])
def test_a_backbone_sees_the_pixels_and_has_the_weights_that_it_was_trained_with(
    network: Any, weights: str, synchronized: bool
) -> None:
    mean, std = (150.0, 120.0, 90.0), (40.0, 30.0, 50.0)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    inputs = keras.Input((64, 64, 3))
    ours = keras.Model(inputs, build_backbone(NAME, 64, weights, mean, std, synchronized)(inputs))
    expected = network(keras.applications.mobilenet_v3.preprocess_input(pixels), training=False)
    found = ours((pixels - mean) / std, training=False)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_the_first_efficientnets_are_the_ones_that_keras_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras.utils.set_random_seed(0)
    file = str(tmp_path / "b0.weights.h5")
    keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(64, 64, 3)).save_weights(file)
    # What Keras downloads is this file.
    monkeypatch.setattr(efficientnet.file_utils, "get_file", lambda *arguments, **options: file)
    kerass = keras.applications.EfficientNetB0(include_top=False, weights="imagenet", input_shape=(64, 64, 3))
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    expected = kerass(pixels, training=False).numpy()
    inputs = keras.Input((64, 64, 3))
    untouched = (0.0,) * 3, (1.0,) * 3, False
    built = [
        keras.Model(inputs, build_backbone("EfficientNetB0", 64, weights, *untouched)(inputs))
        for weights in (file, "imagenet", "")
    ]
    # As the export does it: built without a file, then given the trained weights.
    built[2].set_weights(built[0].get_weights())
    for ours in built:
        np.testing.assert_allclose(
            ours(pixels, training=False), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
        )


def test_names_of_no_network_or_of_one_that_cannot_be_trained_are_refused() -> None:
    check_backbone("EfficientNetV2B0")
    with pytest.raises(
        UsageError, match=r"--backbone efficientnetv2: no network of keras.applications; .*EfficientNetV2"
    ):
        check_backbone("efficientnetv2")
    with pytest.raises(UsageError, match=r"--backbone NASNetMobile: can be trained on one size of images only; .*for"):
        check_backbone("NASNetMobile")


@pytest.mark.parametrize(
    ("name", "content"), [("x.weights.h5", b"no weights"), ("x.weights.h5", b""), ("x.keras", b"no weights")]
)
def test_a_file_that_holds_no_weights_of_the_backbone_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=f"--weights .*{name}: cannot be used for --backbone {NAME}"):
        build_backbone(NAME, 64, str(path), (0.0,) * 3, (1.0,) * 3, False)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--backbone=InceptionV3"], "--backbone InceptionV3: cannot be built for images of 16 px (Input size must be"),
        (
            [f"--backbone={NAME}", f"--weights={ROOT / 'LICENSE'}", "--progressive="],
            "LICENSE: cannot be used for --backbone",
        ),
    ],
)
def test_a_backbone_that_does_not_fit_leaves_nothing_behind(
    command: Command, dataset: Path, tmp_path: Path, options: list[str], says: str
) -> None:
    done = command(*training(dataset, tmp_path / "run", *options))
    assert done.returncode == 2
    assert len(besides_progress(done.stderr)) == 1
    assert says in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.proof
def test_a_run_with_a_backbone_exports_like_any_other(
    command: Command, dataset: Path, weights: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    options = ("--epochs=1", f"--backbone={NAME}", f"--weights={weights}", "--progressive=", "--learning_rate=0.001")
    done = command(*training(dataset, run, *options))
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "model/assets/model.json").read_text())["network"]["backbone"] == NAME
    model = tf.saved_model.load(str(run / "model"))
    files = tf.constant([jpeg(draw(label, 1000)) for label in range(len(CLASSES))])
    probabilities = model.signatures["serving_default"](image_bytes=files)["probabilities"].numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert model.signatures["class_activation"](image=tf.zeros([1, SIZE, SIZE, 3]))["activation"].shape[-1] == 4
    assert json.loads((run / "train.json").read_text())["validation"]["n"] == HELD_OUT_COUNT * len(CLASSES)
