"""Sets as on Hugging Face."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pipelines.domain.image_ids import image_id_of
from pipelines.domain.metadata_columns import Columns
from pipelines.sources.inputs import complete_inputs, read_inputs
from pipelines.sources.list_files import list_files
from pipelines.sources.metadata_tables import read_facts, table_rows
from pipelines.storage import archives


def labels(source: str) -> dict[str, str]:
    (found,) = complete_inputs(read_inputs([source], []), Columns()).sources
    facts = (fact for table in found.tables for fact in read_facts(table.path, table.columns, table.name))
    return {image: fact.labels[0] for image, fact in facts}


def test_numbers_of_classes_in_parquet_are_the_names_that_the_file_declares(tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("L", (1, 1)).save(picture, "PNG")
    rows = [{"image": {"bytes": picture.getvalue(), "path": f"lesion{row}"}, "label": row % 2} for row in range(4)]
    features = {"label": {"_type": "ClassLabel", "names": ["nevus", "melanoma"]}}
    table = pa.Table.from_pylist(rows).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    path = tmp_path / "train-00000-of-00001.parquet"
    pq.write_table(table, path)
    names = [f"train-00000-of-00001-lesion{row}" for row in range(4)]
    expected = dict(zip(names, ["nevus", "melanoma"] * 2, strict=True))
    for source in (f"huggingface={tmp_path}", f"huggingface={path}", str(path)):
        assert labels(source) == expected
    assert [file.relative for file in list_files(str(tmp_path)) if file.is_image] == [
        f"train-00000-of-00001/{name}" for name in names
    ]


def test_json_lines_say_what_the_files_beside_them_show(tmp_path: Path) -> None:
    lines = [
        {"file_name": "train/ISIC_0000001.jpg", "label": "nevus"},
        {"file_name": "a.png", "dx": "mel", "age": None},
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert labels(f"huggingface={tmp_path}") == {"ISIC_0000001": "nevus", "a": "mel"}


def test_shards_whose_rows_share_names_or_numbers_are_not_joined(tmp_path: Path) -> None:
    found: dict[str, str] = {}
    for place in ("train/a-0", "train/a-1", "train/0000", "test/0000"):
        rows = [
            {"image": {"bytes": b"x", "path": f"{row}.jpg"}, "image_id": row, "dx": f"{place} {row}"}
            for row in range(3)
        ]
        table = pa.Table.from_pylist(rows)
        # By numbers of a column, and by files.
        for end, content in (("", table), (f"-{place[:2]}", table.drop(["image_id"]))):
            path = tmp_path / f"{place}{end}.parquet"
            path.parent.mkdir(exist_ok=True)
            pq.write_table(content, path)
            said = labels(f"huggingface={path}")
            assert list(said.values()) == [row["dx"] for row in rows]
            assert {image_id_of(file.relative) for file in list_files(str(path)) if file.is_image} == set(said)
            assert not found.keys() & said
            found |= said


def test_a_column_of_masks_is_no_image_and_no_column_of_the_table(tmp_path: Path) -> None:
    image = {"bytes": b"photograph", "path": "ISIC_0000001.jpg"}
    row = {"mask": {"bytes": b"mask", "path": "m.png"}, "thumb": b"t", "image": image, "boxes": [1], "dx": "nv"}
    both = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([row]), both)
    unnamed = tmp_path / "b.parquet"
    pq.write_table(pa.Table.from_pylist([{"mask": row["mask"], "picture": image, "dx": "nv"}]), unnamed)
    for path in map(str, (both, unnamed)):
        (member,) = archives.list_members(path)
        assert archives.read_member(path, member) == b"photograph"
        assert list(table_rows(path)) == [{"file_name": "ISIC_0000001.jpg", "dx": "nv"}]


def test_an_isic_id_that_several_rows_have_is_that_of_each(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    picture = io.BytesIO()
    Image.new("L", (1, 1)).save(picture, "PNG")
    rows = [{"image": {"bytes": picture.getvalue(), "path": None}, "isic_id": "ISIC_0000001", "dx": "nv"}] * 2
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert [image_id_of(file.relative) for file in list_files(str(path))] == ["ISIC_0000001"] * 2
    assert labels(str(path)) == {"ISIC_0000001": "nv"}


def test_a_row_is_known_by_its_file_and_its_isic_id_and_without_both_by_another_id(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text(
        "ISIC_ID,image_id,File_Name,Label\nISIC_0000001,5,a/scan_17.jpg,nevus\n,6,scan_18.jpg,melanoma\n"
        "ISIC_0000003,7,,nevus\n,scan_19,,melanoma\n,,,nevus\n"
    )
    assert labels(f"huggingface={tmp_path}") == {
        "scan_17": "nevus",
        "ISIC_0000001": "nevus",
        "scan_18": "melanoma",
        "ISIC_0000003": "nevus",
        "scan_19": "melanoma",
    }
