"""Files made into records by Pillow: the pixels and scores of the exported graph, to the last bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pipelines.imaging import images
from pipelines.imaging.encoding import encode as encode_record
from pipelines.imaging.forms import ASPECTS, ENCODINGS
from pipelines.imaging.images import BadImage
from pipelines.score.model_handler import LoadedModels, Prediction
from pipelines.score.model_input import ModelInput, RecordForm, form_of, forms_of, standardize
from pipelines.score.models import read_model_info
from tests.support.image_files import OTHER_FILES, RAW_FILES, encode, exif, photograph
from tests.support.scoring import export_untrained
from tests.support.tiny_dataset import CLASSES, write_dataset

# 6 megapixels on their side, to be shrunk by 8 and turned.
LARGE = encode(photograph(3000, 2000), progressive=True, exif=exif(6))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return export_untrained(write_dataset(folder), folder / "model", 1)


def taken(data: bytes, *forms: RecordForm) -> ModelInput:
    return standardize(data, images.read_info(data), forms)


def scored_alike(folder: Path, files: list[bytes]) -> np.ndarray:
    """Probabilities of the files, in batches that give `serving_default` the same bits."""
    info = read_model_info("--model", str(folder))
    loaded = LoadedModels([info], False)
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    expected = []
    for start in range(0, len(files), 16):
        batch = files[start : start + 16]
        expected.append(serve(image_bytes=tf.constant(batch))["probabilities"].numpy())
        found: list[Any] = loaded.predict([taken(data, form_of(info)) for data in batch])
        assert all(isinstance(prediction, Prediction) for prediction in found)
        assert np.array_equal(np.concatenate([prediction.by_model for prediction in found]), expected[-1])
    return np.concatenate(expected)


def test_generated_files_get_the_scores_of_the_serving_signature_to_the_last_bit(model: Path) -> None:
    scores = scored_alike(model, [*RAW_FILES.values(), LARGE])
    assert scores.shape == (len(RAW_FILES) + 1, len(CLASSES))
    assert scores.std(axis=0).max() > 0.01


def test_real_files_get_the_scores_of_the_serving_signature_to_the_last_bit(model: Path, shared_data: Path) -> None:
    paths = [
        *sorted(shared_data.glob("isic9/Train/*/*.jpg"))[::100],
        *sorted(shared_data.glob("ham10000/images/*.jpg"))[::250],
        *sorted(shared_data.glob("isic_cli_download/*.jpg"))[::90],
        *sorted(shared_data.glob("large_originals/*.jpg"))[::15],
    ]
    assert len(paths) > 40
    assert scored_alike(model, [path.read_bytes() for path in paths]).std(axis=0).max() > 0.01


@pytest.mark.parametrize("aspect", ASPECTS)
def test_each_form_is_what_prepare_writes(aspect: str) -> None:
    """Two sizes need other reductions of a large file, three encodings share one; a PNG only has the same pixels."""
    forms = [RecordForm(size, aspect, encoding) for size in (64, 250) for encoding in ENCODINGS]
    for name, data in (RAW_FILES | OTHER_FILES).items():
        for form, record in zip(forms, taken(data, *forms).records, strict=True):
            pixels = images.standardize(data, form.image_size, aspect)
            if form.encoding == "png":
                assert np.array_equal(images.decode(record), pixels), name
            else:
                assert record == encode_record(pixels, form.encoding), name


def test_pillow_decodes_a_record_as_tensorflow_does() -> None:
    for name, data in RAW_FILES.items():
        (record,) = taken(data, RecordForm(96, "pad", "jpeg")).records
        decoded = tf.io.decode_jpeg(record, channels=3, dct_method="INTEGER_ACCURATE").numpy()
        assert np.array_equal(images.decode(record), decoded), name


def test_each_form_is_made_once_in_the_order_of_the_models(model: Path) -> None:
    one = read_model_info("--model", str(model))
    other = dataclasses.replace(one, image_size=64)
    third = dataclasses.replace(one, fingerprint="another")
    assert forms_of([other, one, third, other]) == (form_of(other), form_of(one))


def test_a_damaged_file_is_named_as_prepare_names_it() -> None:
    whole = encode(photograph(300, 200))
    for data in (whole[: len(whole) // 2], encode(photograph(130, 170), "PNG")[:-30]):
        with pytest.raises(BadImage) as expected:
            images.standardize(data, 64, "crop")
        with pytest.raises(BadImage) as found:
            taken(data, RecordForm(64, "crop", "jpeg"))
        assert (found.value.reason, found.value.message) == (expected.value.reason, expected.value.message)
