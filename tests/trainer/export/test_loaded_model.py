"""An exported model, read and run: its description, its probabilities of records, its maps, and what is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pipelines.common.cli import UsageError
from tests.support.documents import change_model
from tests.support.tiny_dataset import CLASSES, SIZE, draw, jpeg
from trainer.data.dataset_info import read_dataset_info
from trainer.data.preprocessing import Preprocessing
from trainer.export.loaded_model import LoadedModel, ModelInfo, read_model_info, require_same_classes


@pytest.fixture(scope="module")
def info(trained: Path) -> ModelInfo:
    return read_model_info(trained / "model")


@pytest.fixture(scope="module")
def network(info: ModelInfo) -> LoadedModel:
    return LoadedModel(info)


@pytest.fixture(scope="module")
def records() -> list[bytes]:
    """Stored images of two classes."""
    return [jpeg(draw(label, 4000)) for label in (1, 2)]


def test_the_description_is_that_of_its_training(info: ModelInfo, dataset: Path) -> None:
    assert (info.classes, info.malignant_classes, info.fold) == (CLASSES, ("melanoma",), -1)
    assert info.dataset_fingerprint == read_dataset_info(dataset).fingerprint
    assert sum(info.prior) == pytest.approx(1)
    assert {name: len(points) for name, points in info.operating_points.items()} == {"one_view": 4, "eight_views": 4}


def test_pixels_are_those_of_the_dataset(network: LoadedModel, records: list[bytes], dataset: Path) -> None:
    expected = Preprocessing(read_dataset_info(dataset)).normalise(tf.constant(records))
    assert np.array_equal(network.pixels(records), expected)


def test_probabilities_are_of_one_view_or_the_mean_of_eight(
    network: LoadedModel, records: list[bytes], trained: Path
) -> None:
    classify = tf.saved_model.load(str(trained / "model")).signatures["classify"]
    pixels = network.pixels(records).numpy()
    views = [np.rot90(side, number, (1, 2)) for side in (pixels, pixels[:, :, ::-1]) for number in range(4)]
    each = [classify(image=tf.constant(view))["probabilities"] for view in views]
    one, eight = (network.probabilities(records, tta) for tta in (False, True))
    assert one.shape == eight.shape == (2, len(CLASSES))
    np.testing.assert_allclose(one, each[0], atol=1e-5)
    np.testing.assert_allclose(eight, np.mean(each, axis=0), atol=1e-5)


def test_a_map_is_drawn_for_each_class(network: LoadedModel, records: list[bytes]) -> None:
    assert network.draws_maps
    network.require_views()
    activation = network.activation(records[0])
    assert activation.shape[-1] == len(CLASSES)
    assert np.isfinite(activation).all()
    assert max(activation.shape[:2]) <= SIZE


def test_a_place_that_is_no_model_is_named(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--model .*none: no such directory; name the model directory"):
        read_model_info(tmp_path / "none")
    with pytest.raises(UsageError, match=r"not a model directory \(no saved_model.pb\)"):
        read_model_info(tmp_path)
    copy = shutil.copytree(trained / "model", tmp_path / "model")
    (copy / "assets/model.json").write_text("{")
    with pytest.raises(UsageError, match=r"model\.json is damaged") as error:
        read_model_info(copy)
    assert "\n" not in str(error.value)


def test_a_damaged_graph_is_named(trained: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained / "model", tmp_path / "model")
    (copy / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(UsageError, match=rf"--model {copy}: saved_model\.pb is not the file that was exported"):
        LoadedModel(read_model_info(copy))
    change_model(copy)
    with pytest.raises(UsageError, match=f"--model {copy}: cannot be loaded"):
        LoadedModel(read_model_info(copy))


def test_other_classes_are_named_and_another_order_is_too(info: ModelInfo) -> None:
    require_same_classes(info, CLASSES, "--dataset d")
    with pytest.raises(
        UsageError, match=r"are not the 2 of --dataset d \(difference: dermatofibroma, vascular lesion\)"
    ):
        require_same_classes(info, ("melanoma", "nevus"), "--dataset d")
    with pytest.raises(UsageError, match="the same ones in another order"):
        require_same_classes(info, CLASSES[::-1], "--dataset d")
