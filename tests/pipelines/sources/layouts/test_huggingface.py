"""Sets as on Hugging Face."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.domain.metadata_columns import Columns
from pipelines.sources.inputs import complete_inputs, read_inputs
from pipelines.sources.list_files import list_files
from pipelines.sources.metadata_tables import read_facts


def labels(source: str) -> dict[str, str]:
    (found,) = complete_inputs(read_inputs([source], []), Columns()).sources
    facts = (fact for table in found.tables for fact in read_facts(table.path, table.columns, table.name))
    return {image: fact.labels[0] for image, fact in facts}


def test_numbers_of_classes_in_parquet_are_the_names_that_the_file_declares(tmp_path: Path) -> None:
    rows = [{"image": {"bytes": b"x", "path": f"lesion{row}"}, "label": row % 2} for row in range(4)]
    features = {"label": {"_type": "ClassLabel", "names": ["nevus", "melanoma"]}}
    table = pa.Table.from_pylist(rows).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    path = tmp_path / "train-00000-of-00001.parquet"
    pq.write_table(table, path)
    expected = {"lesion0": "nevus", "lesion1": "melanoma", "lesion2": "nevus", "lesion3": "melanoma"}
    for source in (f"huggingface={tmp_path}", f"huggingface={path}", str(path)):
        assert labels(source) == expected
    assert [file.relative for file in list_files(str(tmp_path)) if file.is_image] == [
        f"train-00000-of-00001/lesion{row}" for row in range(4)
    ]


def test_json_lines_say_what_the_files_beside_them_show(tmp_path: Path) -> None:
    lines = [
        {"file_name": "train/ISIC_0000001.jpg", "label": "nevus"},
        {"file_name": "a.png", "dx": "mel", "age": None},
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert labels(f"huggingface={tmp_path}") == {"ISIC_0000001": "nevus", "a": "mel"}
