"""Tables of out-of-fold predictions, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.audit.predictions import PARTS, read_predictions, require_predictions
from pipelines.common.cli import UsageError
from tests.support.out_of_fold import write_table

CLASSES = ("melanoma", "basal cell carcinoma")


def test_each_image_has_its_probabilities_in_label_order(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t", CLASSES[::-1], [("ISIC_0000001", "aa", (0.25, 0.75)), ("7", "bb", (1, 0))])
    require_predictions(str(path), CLASSES)
    assert list(read_predictions(str(path), CLASSES)) == [
        ("ISIC_0000001", (PARTS * 3 // 4, PARTS // 4)),
        ("bb", (0, PARTS)),
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("a", "aa", (0.9, 0.9))], "no probabilities"),
        ([("a", "aa", (float("nan"), 1.0))], "no probabilities"),
        ([("a", "aa", (0.5, 0.5)), ("b", "aa", (0.5, 0.5))], "has aa twice"),
        ([("a", "", (0.5, 0.5))], "an image without an id"),
        ([], "holds no image"),
    ],
)
def test_a_table_that_cannot_be_judged_by_is_refused(tmp_path: Path, rows: list, said: str) -> None:
    path = write_table(tmp_path / "t.parquet", CLASSES, rows)
    with pytest.raises(UsageError, match=rf"--predictions {path}: .*{said}"):
        require_predictions(str(path), CLASSES)


def test_other_classes_other_tables_and_other_files_are_refused_by_name(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.parquet", CLASSES, [("a", "aa", (0.5, 0.5))])
    with pytest.raises(UsageError, match=r"difference: basal_cell_carcinoma, nevus\)"):
        require_predictions(str(path), ("melanoma", "nevus"))
    pq.write_table(pa.table({"image_id": ["a"], "probability_melanoma": [1.0]}), path)
    with pytest.raises(UsageError, match="needs the columns source_id, sha256"):
        require_predictions(str(path), CLASSES)
    path.write_bytes(b"PAR1 but no more")
    for missing in (path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match=f"--predictions {missing}: is no Parquet file that can be"):
            require_predictions(str(missing), CLASSES)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("probability_melanoma", ["0.5"], "probability_melanoma must hold numbers; it has string"),
        ("source_id", [7], "source_id must hold text; it has int64"),
        ("sha256", [b"aa"], "sha256 must hold text; it has binary"),
    ],
)
def test_a_column_of_the_wrong_kind_is_named(tmp_path: Path, column: str, values: list, said: str) -> None:
    path = write_table(tmp_path / "t.parquet", CLASSES, [("a", "aa", (0.5, 0.5))])
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index(column), column, pa.array(values)), path)
    with pytest.raises(UsageError, match=f"--predictions {path}: the column {said}"):
        require_predictions(str(path), CLASSES)


def test_texts_as_data_frames_write_them_are_read(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.parquet", CLASSES, [("ISIC_0000001", "aa", (0.5, 0.5))])
    table = pq.read_table(path)
    for kind in (pa.large_string(), pa.dictionary(pa.int8(), pa.string())):
        pq.write_table(table.set_column(0, "source_id", table["source_id"].cast(kind)), path)
        assert [key for key, _ in read_predictions(str(path), CLASSES)] == ["ISIC_0000001"]
