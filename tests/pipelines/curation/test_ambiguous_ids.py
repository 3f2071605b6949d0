"""Numbers that mean another image in each source."""

from __future__ import annotations

from pipelines.curation.ambiguous_ids import FindAmbiguous
from pipelines.dataset.image_row import ImageRow
from pipelines.sources.source import Table
from tests.support.collecting import run


def image(source: str, name: str, sha256: str, *tables: str) -> ImageRow:
    return ImageRow(f"/{source}/{name}.jpg", f"{name}.jpg", source=source, image_id=name, sha256=sha256, tables=tables)


def test_a_number_in_a_shared_table_must_mean_one_image() -> None:
    shared = [Table("/all/labels.csv", name="labels.csv")]
    rows = [
        image("train", "1", "a", "labels.csv"),
        image("test", "1", "b", "labels.csv"),
        # The same bytes, a table of one source, a name, a number in one source alone, a file that cannot be read.
        *(image(source, "2", "c", "labels.csv") for source in ("train", "test")),
        *(image(source, "3", source, "train/metadata.csv") for source in ("train", "test")),
        *(image(source, "scar", source, "labels.csv") for source in ("train", "test")),
        *(image("train", "4", sha256, "labels.csv") for sha256 in "de"),
        image("train", "5", "f", "labels.csv"),
        image("test", "5", "", "labels.csv"),
    ]
    assert run(rows, FindAmbiguous(shared)) == [
        "--metadata /all/labels.csv: image '1' is one image in test and another in train; "
        "name each source with its own table, in a file of sources (docs/sources.md)"
    ]
