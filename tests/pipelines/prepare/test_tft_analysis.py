"""The tf.Transform graph: its statistics come from exact sums of the train originals."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from PIL import Image

from pipelines.dataset.record_spec import RecordSpec
from pipelines.imaging import encoding as imaging_encoding
from pipelines.imaging import images
from pipelines.imaging.forms import ENCODINGS
from pipelines.prepare.train_statistics import AnalyzeTrain, ClassStatistics
from tests.support.collecting import run
from tests.support.image_files import photograph


@pytest.mark.parametrize("name", ENCODINGS)
def test_an_image_of_another_size_is_refused(name: str) -> None:
    import tensorflow as tf

    from pipelines.prepare.tft_analysis import decode_images

    # As many bytes as two of the right size, and an image that is no square.
    for shape in ((40, 20), (20, 40)):
        stored = imaging_encoding.encode(photograph(*shape), name)
        with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=r"shape|compatible"):
            decode_images(tf.constant([stored]), 20, name)


def test_the_graph_normalises_by_the_exact_statistics_of_all_originals(tmp_path: Path) -> None:
    import tensorflow as tf
    import tensorflow_transform as tft

    spec = RecordSpec(("melanoma", "nevus"), 12, encoding="raw")
    originals = [(name, photograph(12, 12, seed)) for seed, name in enumerate(("nevus", "melanoma", "nevus"))]
    sums = [(name, tuple(itertools.chain(*images.channel_sums(Image.fromarray(pixels))))) for name, pixels in originals]
    run(sums, AnalyzeTrain(str(tmp_path / "graph"), spec))
    counts = (tmp_path / "graph" / "transform_fn" / "assets" / "class_counts").read_text()
    assert counts == "2 nevus\n1 melanoma\n"
    given = {
        "image/encoded": tf.constant([one.tobytes() for _, one in originals]),
        "image/class/text": tf.constant(["nevus", "melanoma", "scar"]),
        # What serving knows nothing of does not matter.
        "image/statistics": tf.zeros([3, 7], tf.int64),
    }
    made = tft.TFTransformOutput(str(tmp_path / "graph")).transform_features_layer()(given)
    pixels = np.stack([pixels for _, pixels in originals]).astype(np.float64)
    expected = (pixels - pixels.mean(axis=(0, 1, 2))) / pixels.std(axis=(0, 1, 2))
    np.testing.assert_allclose(made["image"], expected, atol=1e-4)
    assert made["label"].numpy().tolist() == [1, 0, -1]


def test_filesystems_keep_the_options_of_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.prepare.tft_analysis import write_transform_fn

    options = PipelineOptions(["--s3_endpoint_url=http://localhost:1"])
    monkeypatch.setattr(FileSystems, "_pipeline_options", options)
    statistics = {name: ClassStatistics(1, (1, 1, 1, 2, 2, 2)) for name in ("melanoma", "nevus")}
    spec = RecordSpec(tuple(statistics), 12, encoding="raw")
    write_transform_fn(statistics, str(tmp_path / "graph"), spec)
    assert FileSystems._pipeline_options is options


def test_graphs_that_a_runner_makes_again_leave_those_that_are_there(tmp_path: Path) -> None:
    from pipelines.prepare.standardize_fn import WriteStandardizeFn

    spec = RecordSpec(("melanoma", "nevus"), 12)
    sums = [("melanoma", (1, 1, 1, 2, 2, 2)), ("nevus", (1, 1, 1, 2, 2, 2))]

    def made() -> dict[str, bytes]:
        run(sums, AnalyzeTrain(str(tmp_path), spec))
        run([None], WriteStandardizeFn(str(tmp_path / "standardize_fn"), spec))
        return {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    first = made()
    assert {name.removeprefix(f"{tmp_path}/").split("/")[0] for name in first} == {
        *("transform_fn", "transformed_metadata", "standardize_fn"),
    }
    assert made() == first
