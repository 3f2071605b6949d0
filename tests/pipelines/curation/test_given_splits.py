"""Splits that are given: by a table, or by a finished dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from pipelines.common.cli import UsageError
from pipelines.curation.given_splits import require_splits
from pipelines.curation.keep_splits import AssignSplitsFromFile, KeepDatasetSplits
from pipelines.curation.recorded_splits import read_recorded
from pipelines.dataset.image_row import ImageRow
from pipelines.dataset.manifest import manifest_bytes
from pipelines.domain.dataset_json import SPLITS
from pipelines.domain.metadata_columns import Columns
from tests.support.collecting import run, run_with
from tests.support.source_files import write


class _FromFile(beam.PTransform):
    """Rows with their given split, and the problems."""

    def __init__(self, path: str):
        super().__init__()
        self._path = path

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        given = rows | AssignSplitsFromFile(self._path, Columns())
        return (given.rows, given.problems) | beam.Flatten()


def test_images_get_the_split_of_the_table_and_problems_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv", "image_id,split\n1.jpg,Test\n2,train\n2.jpg,validation\ngone,train\n,test\n")
    rows = [ImageRow(f"/{n}.jpg", f"{n}.jpg", image_id=n) for n in ("1", "2", "3")]
    found = run(rows, _FromFile(path))
    splits = {one.image_id: one.given_split for one in found if isinstance(one, ImageRow)}
    assert splits == {"1": "test", "2": "train", "3": ""}
    assert sorted(one for one in found if isinstance(one, str)) == [
        "image '2' is in train and validation",
        "image 'gone' is not among the images",
    ]


def test_a_number_of_two_images_in_two_sources_gets_no_split_quietly(tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv", "image_id,split\n1,test\n2,train\na,train\n")
    contents = {("one", "1"): "x", ("two", "1"): "y", ("one", "2"): "z", ("two", "2"): "z"}
    contents |= {("one", "a"): "v", ("two", "a"): "w"}
    rows = [
        ImageRow(f"/{source}/{name}.jpg", f"{name}.jpg", source=source, image_id=name, sha256=sha256)
        for (source, name), sha256 in contents.items()
    ]
    said = [one for one in run(rows, _FromFile(path)) if isinstance(one, str)]
    assert said == ["image '1' is one image in one and another in two; give one of them another name"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("image_id,part\n1,train\n", "needs an image id column and split; it has image_id, part"),
        ("name,split\n1,train\n", "needs an image id column and split; it has name, split"),
        ("image_id,split\n1,training\n", "1 has split 'training'; train, validation, test are known"),
        ("image_id,split\n1,\n", "1 has split ''; train, validation, test are known"),
    ],
)
def test_a_splits_file_that_cannot_be_used_is_refused(tmp_path: Path, content: str, says: str) -> None:
    path = write(tmp_path / "s.csv", content)
    with pytest.raises(UsageError) as refused:
        require_splits(path, Columns())
    assert str(refused.value) == f"--splits_file {path}: {says}"


def test_images_of_a_dataset_keep_split_and_fold_by_content_or_isic_id(tmp_path: Path) -> None:
    def written(name: str, sha256: Any, split: Any, fold: Any = -1) -> Any:
        return ImageRow(
            f"/old/{name}", name, sha256=sha256, image_id=name[:12], split=split, fold=fold, outcome="written"
        )

    recorded = [
        written("ISIC_0000001.jpg", "a", "train", 1),
        written("ISIC_0000002.jpg", "b", "test"),
        written("other name.j", "c", "validation"),
        ImageRow("/old/x", "x", sha256="d", image_id="x", outcome="rejected"),
    ]
    (tmp_path / "manifest-00000-of-00001.parquet").write_bytes(manifest_bytes(recorded))
    rows = [
        ImageRow("/new/renamed.jpg", "renamed.jpg", sha256="a"),
        ImageRow("/new/ISIC_0000002.png", "ISIC_0000002.png", sha256="encoded anew"),
        ImageRow("/new/c.jpg", "c.jpg", sha256="c", given_split="test"),
        ImageRow("/new/other name.j", "other name.j", sha256="e"),
        ImageRow("/new/d.jpg", "d.jpg", sha256="d"),
    ]
    images = read_recorded(str(tmp_path / "manifest-00000-of-00001.parquet"))
    found = {
        one.relative: (one.given_split, one.given_fold) for one in run_with(rows, images, KeepDatasetSplits(SPLITS))
    }
    assert found == {
        "renamed.jpg": ("train", 1),
        "ISIC_0000002.png": ("test", -1),
        # What is given otherwise comes first; a name that is not ISIC's says nothing; rejected images have no split.
        "c.jpg": ("test", -1),
        "other name.j": ("", -1),
        "d.jpg": ("", -1),
    }
