"""Images that a dataset had once keep their split, and give it to what belongs to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam

from pipelines.curation.groups import AssignGroups
from pipelines.curation.past_images import FindAbsent, FindPast, ReadRecorded
from pipelines.curation.recorded_splits import Assignment, RecordedImage, by_content, past_bytes
from pipelines.curation.split import keep_given_split
from pipelines.dataset.image_row import PAST, SIDES, ImageRow
from pipelines.dataset.manifest import manifest_bytes
from pipelines.domain.dataset_json import SPLITS
from tests.support.collecting import run_source, run_with
from tests.support.image_rows import row, train_row


def recorded(name: str, split: str, fold: int = -1, **facts: Any) -> RecordedImage:
    return RecordedImage(
        **{"sha256": name, "image_id": name, "lesion_ids": (), "patient_ids": (), **facts},
        assignment=Assignment(split, fold),
    )


def past(name: str, split: str, fold: int = -1, **values: Any) -> ImageRow:
    return ImageRow(
        "",
        name,
        **{"sha256": name, "given_split": split, "given_fold": fold, "outcome": PAST, "group_id": "g", **values},
    )


class _Past(beam.PTransform):
    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection:
        return inputs | FindPast()


class _Grouped(beam.PTransform):
    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection:
        rows, images = inputs
        absent = (images, rows) | FindAbsent()
        both = (rows, absent) | beam.Flatten()
        return (both, both.pipeline | beam.Create([]), both) | AssignGroups()


def test_the_images_of_a_dataset_and_of_its_past_are_read_with_what_links_them(tmp_path: Path) -> None:
    now = train_row(
        "a", image_id="ISIC_0000001", lesion_ids=("L1", "L2"), patient_ids=("P",), fold=2, outcome="written"
    )
    (tmp_path / "manifest-00000-of-00001.parquet").write_bytes(manifest_bytes([now, row("x").rejected("", "r", "")]))
    once = [recorded("c", "test"), recorded("b", "train", 0, image_id="ISIC_0000002", lesion_ids=("L3",))]
    (tmp_path / "past-00000-of-00001.parquet").write_bytes(past_bytes(sorted(once, key=by_content)))
    linked = recorded("a", "train", 2, image_id="ISIC_0000001", lesion_ids=("L1", "L2"), patient_ids=("P",))
    assert sorted(run_source(ReadRecorded(str(tmp_path)))) == sorted([linked, *once])


def test_an_image_that_is_not_written_any_more_is_past_with_what_is_known_of_it_by_now() -> None:
    images = [recorded(name, "test", lesion_ids=("L1",)) for name in ("kept", "gone", "rejected", "dropped train")]
    rows = [
        train_row("kept", split="test", outcome="written"),
        row("copy", sha256="kept", outcome="duplicate"),
        row("rejected", sha256="rejected", lesion_ids=("L2",), patient_ids=("P",), outcome="rejected"),
        row("dropped train", sha256="dropped train", outcome="undersampled"),
        row("new", sha256="new", split="train", outcome="written"),
        row("unreadable", sha256="", outcome="rejected"),
    ]
    found = {image.sha256: image for image in run_with(images, rows, _Past())}
    assert sorted(found) == ["dropped train", "gone", "rejected"]
    assert found["gone"] == images[1]
    assert (found["rejected"].lesion_ids, found["rejected"].patient_ids) == (("L1", "L2"), ("P",))
    assert found["rejected"].assignment == images[2].assignment


def test_past_images_link_others_by_lesion_and_id_as_present_ones_do() -> None:
    images = [recorded("gone", "test", image_id="ISIC_0000001", lesion_ids=("L1", "L2")), recorded("there", "train")]
    rows = [
        row("1", sha256="1", lesion_ids=("L1",)),
        row("2", sha256="2", lesion_ids=("L2",)),
        row("ISIC_0000001.png", sha256="3"),
        row("there", sha256="there"),
    ]
    groups: dict[str, set[str]] = {}
    for one in run_with(rows, images, _Grouped()):
        groups.setdefault(one.group_id, set()).add(one.relative)
    assert sorted(map(sorted, groups.values())) == [["1", "2", "ISIC_0000001", "ISIC_0000001.png"], ["there"]]


def test_a_past_image_has_a_say_in_the_split_of_its_group_and_is_no_image_of_it() -> None:
    new = row("new", sha256="new", group_id="g")
    (kept,) = keep_given_split([past("gone", "test"), new])
    assert (kept.relative, kept.split) == ("new", "test")
    (folded,) = keep_given_split([past("gone", "train", 2), past("other", "train", 1), new])
    assert (folded.split, folded.given_fold) == ("train", 1)
    there = row("there", sha256="there", group_id="g", given_split="train")
    for sides, expected in ((SPLITS, ["train", "train"]), (SIDES["remove_from_train"], ["", "test"])):
        assert [one.split for one in keep_given_split([past("gone", "test"), there, new], sides)] == expected
