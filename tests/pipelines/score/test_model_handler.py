"""Exported models behind RunInference: what they say of an image, whatever lies beside it in its batch."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pipelines.domain.model_info import ModelInfo
from pipelines.imaging.images import BadImage, read_info
from pipelines.imaging.standardize_graph import StandardizeModule
from pipelines.score.model_handler import (
    LesionModelHandler,
    LoadedModels,
    ModelError,
    Prediction,
    decoder_message,
    load_models,
)
from pipelines.score.model_input import ModelInput, RecordForm, standardize
from pipelines.score.models import read_ensemble, read_model_info
from tests.support import tiny_dataset
from tests.support.documents import change_model
from tests.support.gcs import local_gcs, upload
from tests.support.scoring import TEMPERATURE, export_untrained
from tests.support.tiny_dataset import CLASSES, SIZE, draw, jpeg, write_dataset

# Sums of float32 that were added up in another order.
NEAR: dict[str, Any] = {"atol": 2e-6, "rtol": 0}


class Negative(tf.Module):
    """The dataset's graph from records to pixels, but with the signs turned around."""

    def __init__(self, transform_fn: Path):
        super().__init__()
        self._graph = tf.saved_model.load(str(transform_fn))

    @tf.function(input_signature=tiny_dataset.TRANSFORM_INPUTS)
    def transform_fn(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs = self._graph.transform_fn(inputs)
        return {**outputs, "image": -outputs["image"]}


def negative_dataset(dataset: Path, folder: Path, fingerprint: str) -> Path:
    shutil.copytree(dataset, folder)
    shutil.rmtree(folder / "transform_fn")
    tf.saved_model.save(Negative(dataset / "transform_fn"), str(folder / "transform_fn"))
    content = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**content, "fingerprint": fingerprint or content["fingerprint"]}))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelInfo]:
    """By name: two of one dataset; one that says so too and sees negatives; one of a dataset of negatives."""
    folder = tmp_path_factory.mktemp("models")
    dataset = write_dataset(folder)
    pretends = negative_dataset(dataset, folder / "pretends", "")
    other = negative_dataset(dataset, folder / "other dataset", "f" * 64)
    made = {
        "one": export_untrained(dataset, folder / "one", 1),
        "two": export_untrained(dataset, folder / "two", 2),
        "pretends": export_untrained(pretends, folder / "m", 3),
        "other": export_untrained(other, folder / "o", 4),
    }
    return {name: read_model_info("--model", str(path)) for name, path in made.items()}


@pytest.fixture(scope="module")
def loaded(models: dict[str, ModelInfo]) -> LoadedModels:
    return LoadedModels([models["one"]], False)


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return [jpeg(draw(number % 4, number, SIZE + 7 * number)) for number in range(9)]


FORM = RecordForm(SIZE, tiny_dataset.ASPECT, "jpeg")


def images(files: list[bytes]) -> list[ModelInput]:
    return [standardize(data, read_info(data), [FORM]) for data in files]


def record(data: bytes) -> ModelInput:
    return ModelInput((data,))


def of(predictions: Sequence[Any]) -> np.ndarray:
    """Probabilities [images, models, classes]."""
    assert all(isinstance(found, Prediction) for found in predictions), predictions
    return np.stack([found.by_model for found in predictions])


@functools.cache
def saved(path: Path) -> Any:
    return tf.saved_model.load(path)


def signature(model: ModelInfo, name: str, **inputs: tf.Tensor) -> np.ndarray:
    found = saved(model.path).signatures[name](**inputs)
    return next(iter(found.values())).numpy()


def test_probabilities_are_the_serving_signature_s(
    models: dict[str, ModelInfo], loaded: LoadedModels, files: list[bytes]
) -> None:
    found: list[Any] = loaded.predict(images(files))
    expected = signature(models["one"], "serving_default", image_bytes=tf.constant(files))
    assert np.array_equal(of(found)[:, 0], expected)
    assert expected.std(axis=0).max() > 0.01
    assert of(found).dtype == np.float32
    assert of(found).shape == (9, 1, len(CLASSES))
    assert all(prediction.seconds > 0 for prediction in found)


def test_probabilities_are_those_of_logits_over_the_temperature(
    models: dict[str, ModelInfo], files: list[bytes]
) -> None:
    model = models["one"]
    pixels = np.stack([signature(model, "standardize", image_bytes=tf.constant(data)) for data in files])
    # Their means are the logits, but for the bias of the last layer.
    maps = signature(model, "class_activation", image=tf.constant(pixels))
    logits = maps.mean(axis=(1, 2)) + saved(model.path).weights[-1].numpy()
    assert model.calibration["temperature"] == TEMPERATURE != 1
    expected = tf.nn.softmax(logits / TEMPERATURE).numpy()
    graph = StandardizeModule(*FORM)
    stored = tf.stack([graph.standardize(tf.constant(data)) for data in files])
    for name, given in (
        ("serving_default", {"image_bytes": tf.constant(files)}),
        ("records", {"image_encoded": stored}),
        ("classify", {"image": tf.constant(pixels)}),
    ):
        np.testing.assert_allclose(signature(model, name, **given), expected, atol=1e-5)


def test_a_batch_decides_nothing(loaded: LoadedModels, files: list[bytes]) -> None:
    together = of(loaded.predict(images(files)))
    for order in (range(9), reversed(range(9))):
        chosen = list(order)
        for size in (1, 4):
            apart = [
                prediction
                for start in range(0, 9, size)
                for prediction in loaded.predict(images([files[index] for index in chosen[start : start + size]]))
            ]
            np.testing.assert_allclose(of(apart), together[chosen], **NEAR)
    assert loaded.predict([]) == []


@pytest.mark.parametrize("names", [("one",), ("one", "two")])
@pytest.mark.parametrize("tta", [False, True])
def test_bad_images_take_no_good_one_with_them(
    models: dict[str, ModelInfo], files: list[bytes], names: tuple[str, ...], tta: bool
) -> None:
    several = LoadedModels([models[name] for name in names], tta)
    good = of(several.predict(images(files[:4])))
    one, two, three, four, five = images(files[:5])
    cut = record(five.records[0][: len(five.records[0]) // 3])
    found = several.predict([record(b""), one, cut, two, record(b"text"), three, four, cut])
    places = [index for index, result in enumerate(found) if isinstance(result, BadImage)]
    assert places == [0, 2, 4, 7]
    np.testing.assert_allclose(of([found[index] for index in (1, 3, 5, 6)]), good, **NEAR)
    bad = [result for result in found if isinstance(result, BadImage)]
    assert len(bad) == len(places)
    for result in bad:
        assert result.reason == "undecodable"
        assert result.message
        assert "\n" not in result.message
        assert "Graph execution" not in result.message
    assert all(isinstance(result, BadImage) for result in several.predict([record(b""), cut]))


def test_records_are_not_standardised_again(
    models: dict[str, ModelInfo], loaded: LoadedModels, files: list[bytes]
) -> None:
    stored = [jpeg(draw(number % 4, number)) for number in range(5)]
    expected = signature(models["one"], "records", image_encoded=tf.constant(stored))
    mixed = [record(stored[0]), *images(files[:2]), *map(record, stored[1:])]
    found = loaded.predict([*mixed, record(b"damaged")])
    assert isinstance(found.pop(), BadImage)
    np.testing.assert_allclose(of([found[0], *found[3:]])[:, 0], expected, **NEAR)
    np.testing.assert_allclose(of(found[1:3]), of(loaded.predict(images(files[:2]))), **NEAR)


def test_an_ensemble_gives_what_each_of_its_models_gives(models: dict[str, ModelInfo], files: list[bytes]) -> None:
    chosen = [models[name] for name in ("one", "two", "other")]
    together = of(LoadedModels(chosen, False).predict(images(files)))
    alone = [of(LoadedModels([model], False).predict(images(files)))[:, 0] for model in chosen]
    np.testing.assert_allclose(together, np.stack(alone, axis=1), **NEAR)


def test_models_of_one_dataset_see_the_same_pixels_and_no_others_do(
    models: dict[str, ModelInfo], files: list[bytes]
) -> None:
    """A graph of negatives under the first model's dataset is not asked; under a dataset of its own it is."""
    found = of(LoadedModels([models["one"], models["pretends"]], False).predict(images(files)))[:, 1]

    def expected(standardized_by: Any) -> Any:
        pixels = [signature(models[standardized_by], "standardize", image_bytes=tf.constant(data)) for data in files]
        return signature(models["pretends"], "classify", image=tf.constant(np.stack(pixels)))

    np.testing.assert_allclose(found, expected("one"), **NEAR)
    assert np.abs(found - expected("pretends")).max() > 0.01


def test_tta_is_the_mean_over_flips_and_turns(
    models: dict[str, ModelInfo], loaded: LoadedModels, files: list[bytes]
) -> None:
    found = of(LoadedModels([models["one"]], True).predict(images(files[:3])))[:, 0]
    for data, result in zip(files, found, strict=False):
        pixels = signature(models["one"], "standardize", image_bytes=tf.constant(data))
        views = [np.rot90(side, turns) for side in (pixels, pixels[::-1]) for turns in range(4)]
        each = signature(models["one"], "classify", image=tf.constant(np.stack(views)))
        np.testing.assert_allclose(result, each.mean(axis=0), **NEAR)
    assert np.abs(found - of(loaded.predict(images(files[:3])))[:, 0]).max() > 1e-4


def test_a_model_that_is_not_what_its_description_says(models: dict[str, ModelInfo]) -> None:
    for change, says in (
        ({"fingerprint": "0" * 64}, "assets/model.json is that of another model "),
        ({"path": models["two"].path}, "assets/model.json is that of another model "),
        ({"classes": (*CLASSES, "more")}, "gives 4 probabilities for 5 classes"),
    ):
        with pytest.raises(ModelError, match=says) as caught:
            LoadedModels([models["two"], dataclasses.replace(models["one"], **change)], False)
        assert str(caught.value).startswith(f"{change.get('path', models['one'].path)}: ")
        assert "\n" not in str(caught.value)


class Thief(tf.Module):
    """A graph that takes the place of a model's and reads a file of the machine that runs it."""

    def __init__(self, model: Path, secret: Path):
        super().__init__()
        self._model, self._secret = tf.saved_model.load(str(model)), str(secret)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def normalise(self, image_encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.print(tf.io.read_file(self._secret))
        return self._model.signatures["normalise"](image_encoded=image_encoded)

    @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32)])
    def classify(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._model.signatures["classify"](image=image)


def test_a_graph_that_was_put_in_the_place_of_a_model_is_not_run(
    models: dict[str, ModelInfo], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, made = tmp_path / "model", tmp_path / "made"
    shutil.copytree(models["one"].path, folder)
    (tmp_path / "secret").write_text("nobody must read this")
    thief = Thief(folder, tmp_path / "secret")
    tf.saved_model.save(thief, str(made), {name: getattr(thief, name) for name in ("normalise", "classify")})
    # All that model.json says, also of the weights, is true.
    for name in ("saved_model.pb", "variables"):
        source, target = made / name, folder / name
        shutil.copytree(source, target, dirs_exist_ok=True) if source.is_dir() else shutil.copy(source, target)
    assert read_model_info("--model", str(folder)) == dataclasses.replace(models["one"], path=str(folder))
    with pytest.raises(
        ModelError, match=r"saved_model\.pb is not the file that was exported \([\d,]+ bytes instead of"
    ):
        LoadedModels([read_model_info("--model", str(folder))], False)
    assert "nobody must read this" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("damage", ["saved_model.pb", "variables/variables.data-00000-of-00001", "variables"])
def test_a_damaged_model_is_said_in_one_line(models: dict[str, ModelInfo], tmp_path: Path, damage: str) -> None:
    shutil.copytree(models["one"].path, tmp_path / "model")
    path = tmp_path / "model" / damage
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ModelError, match=r": \S+ is (missing|not the file that was exported)"):
        LoadedModels([read_model_info("--model", str(tmp_path / "model"))], False)
    change_model(tmp_path / "model")
    model = read_model_info("--model", str(tmp_path / "model"))
    with pytest.raises(ModelError, match=f"{model.path}: cannot be loaded: .") as caught:
        LoadedModels([model], False)
    assert "\n" not in str(caught.value)


def test_models_are_loaded_once_in_a_process(models: dict[str, ModelInfo]) -> None:
    handlers = [LesionModelHandler((models["one"],), False, shared) for shared in (False, True)]
    assert handlers[0].load_model() is handlers[1].load_model() is load_models((models["one"],), False)
    assert [handler.share_model_across_processes() for handler in handlers] == [False, True]
    assert handlers[0].get_num_bytes([record(b"12"), record(b"345"), ModelInput((b"6", b"78"))]) == 8


def test_an_activation_map_has_a_channel_for_each_class(
    models: dict[str, ModelInfo], loaded: LoadedModels, files: list[bytes]
) -> None:
    maps = loaded.activation(images(files)[0])
    assert maps is not None
    assert maps.shape[2] == len(CLASSES)
    assert maps.dtype == np.float32
    # The mean of a map over its positions is the class's logit but for its bias; a flip or turn moves it by little.
    turned = loaded.activation(images([jpeg(np.rot90(draw(0, 0, SIZE)))])[0])
    assert turned is not None
    assert turned.shape == maps.shape
    assert maps.std() > 0
    with pytest.raises(BadImage) as caught:
        loaded.activation(record(files[0][:300]))
    assert "\n" not in caught.value.message


def test_a_model_from_before_there_were_maps_scores_all_the_same(
    models: dict[str, ModelInfo], loaded: LoadedModels, files: list[bytes], tmp_path: Path
) -> None:
    older = tf.saved_model.load(models["one"].path)
    signatures = {name: older.signatures[name] for name in ("serving_default", "normalise", "classify")}
    tf.saved_model.save(older, str(tmp_path / "older"), signatures=signatures)
    shutil.copytree(f"{models['one'].path}/assets", tmp_path / "older" / "assets", dirs_exist_ok=True)
    change_model(tmp_path / "older")
    model = LoadedModels([read_model_info("--model", str(tmp_path / "older"))], False)
    assert model.activation(images(files)[0]) is None
    np.testing.assert_allclose(of(model.predict(images(files))), of(loaded.predict(images(files))), **NEAR)


def test_a_model_in_a_bucket_predicts_like_one_on_disk(
    models: dict[str, ModelInfo],
    loaded: LoadedModels,
    files: list[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with local_gcs(tmp_path, "models") as environment:
        upload(environment, "models", Path(models["one"].path), "night/7")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        (model,) = read_ensemble("--model", ["gs://models/night/7"])
        found = LoadedModels([model], False).predict(images(files))
        # Somebody replaces the model between the command and its workers.
        upload(environment, "models", Path(models["two"].path), "night/7")
        with pytest.raises(ModelError, match=r"^gs://models/night/7: assets/model\.json is that of another model"):
            LoadedModels([model], False)
    assert model.fingerprint == models["one"].fingerprint
    np.testing.assert_allclose(of(found), of(loaded.predict(images(files))), **NEAR)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Invalid PNG data, size 300", "Invalid PNG data, size 300"),
        (
            "Graph execution error:\n\nDetected at node DecodeJpeg defined at (most recent call last):\n"
            "<stack traces unavailable>\nInput is empty.\n\t [[{{node DecodeJpeg}}]] [Op:__inference_1]",
            "Input is empty.",
        ),
        ("\n  [[node]]\n", "\n  [[node]]\n"),
        ("", ""),
    ],
)
def test_the_message_of_a_bad_file_is_what_the_decoder_said(text: str, message: str) -> None:
    assert decoder_message(text) == message
