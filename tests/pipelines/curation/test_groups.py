"""Which images belong together, and so go to one split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from pipelines.curation.groups import AssignGroups, group_keys, load_thumbnails, near_keys
from pipelines.curation.near_duplicates import NearPair
from pipelines.dataset.image_row import Thumbnail
from pipelines.storage.errors import StorageError
from pipelines.storage.packs import PackWriter
from tests.support.collecting import run_with
from tests.support.image_rows import row


class _GroupAlone(beam.PTransform):
    """AssignGroups for rows that nothing but they themselves links."""

    def __init__(self, by_patient: bool = False):
        super().__init__()
        self._by_patient = by_patient

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection:
        rows, pairs = inputs
        return (rows, pairs, rows) | AssignGroups(self._by_patient)


def test_groups_follow_lesions_patients_and_near_duplicates() -> None:
    rows = [
        row("1", sha256="1", lesion_ids=("HAM_1",)),
        row("2", sha256="2", lesion_ids=("HAM_1", "IL_9")),
        row("3", sha256="3", lesion_ids=("IL_9",), patient_ids=("P",)),
        row("4", sha256="4", lesion_ids=("IL_8",), patient_ids=("P",)),
        row("5", sha256="5"),
        row("6", sha256="6"),
    ]

    def parts(by_patient: bool, *pairs: tuple[str, str]) -> Any:
        found: dict[str, set[str]] = {}
        near = [NearPair(min(pair), max(pair), 2, 0.1) for pair in pairs]
        for one in run_with(rows, near, _GroupAlone(by_patient)):
            found.setdefault(one.group_id, set()).add(one.relative)
        return sorted(map("".join, map(sorted, found.values())))

    assert parts(False) == ["123", "4", "5", "6"]
    assert parts(True) == ["1234", "5", "6"]
    assert parts(False, ("6", "5"), ("5", "1")) == ["12356", "4"]


@pytest.mark.parametrize("by_patient", [False, True])
def test_an_image_shares_keys_by_its_id_its_lesions_and_if_asked_its_patients(by_patient: bool) -> None:
    one = row("x/ISIC_0000001.jpg", lesion_ids=("L1", "L2"), patient_ids=("P",))
    keys = ["image:ISIC_0000001", "lesion:L1", "lesion:L2"]
    assert group_keys(one, by_patient) == keys + ["patient:P"] * by_patient
    # A name that is not ISIC's means nothing in another source.
    assert group_keys(row("1.jpg"), by_patient) == []


def test_both_sides_of_a_pair_have_its_key() -> None:
    first, second = near_keys(NearPair("aa", "bb", 2, 0.1))
    assert (first[0], second[0]) == ("aa", "bb")
    assert first[1] == second[1] != near_keys(NearPair("aa", "cc", 2, 0.1))[0][1]


def test_thumbnails_come_in_the_order_asked_for_and_a_damaged_one_stops_the_job(tmp_path: Path) -> None:
    thumbnails: list[Thumbnail] = []
    for pack in (b"abc", b"def"):
        writer: PackWriter[None] = PackWriter(str(tmp_path))
        for letter in pack:
            writer.add(None, 0, [bytes([letter]) * 768])
        thumbnails += [Thumbnail(packed.pack, packed.pieces[0]) for packed in writer.flush()]
    mixed = thumbnails[::2] + thumbnails[::-1]
    assert b"".join(one[:1] for one in load_thumbnails(str(tmp_path), mixed)) == b"acefedcba"
    damaged = tmp_path / thumbnails[0].pack
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(StorageError, match="1 thumbnails are damaged"):
        load_thumbnails(str(tmp_path), mixed)
