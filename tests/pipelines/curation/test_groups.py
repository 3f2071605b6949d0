"""Which images belong together, and so go to one split."""

from __future__ import annotations

import apache_beam as beam

from pipelines.curation.groups import AssignGroups
from pipelines.curation.near_duplicates import NearPair
from tests.support.collecting import run_with
from tests.support.image_rows import row


class _GroupAlone(beam.PTransform):
    """AssignGroups for rows that nothing but they themselves links."""

    def __init__(self, by_patient=False):
        super().__init__()
        self._by_patient = by_patient

    def expand(self, inputs):
        rows, pairs = inputs
        return (rows, pairs, rows) | AssignGroups(self._by_patient)


def test_groups_follow_lesions_patients_and_near_duplicates():
    rows = [
        row("1", sha256="1", lesion_ids=("HAM_1",)),
        row("2", sha256="2", lesion_ids=("HAM_1", "IL_9")),
        row("3", sha256="3", lesion_ids=("IL_9",), patient_ids=("P",)),
        row("4", sha256="4", lesion_ids=("IL_8",), patient_ids=("P",)),
        row("5", sha256="5"),
        row("6", sha256="6"),
    ]

    def parts(by_patient, *pairs):
        found: dict[str, set[str]] = {}
        near = [NearPair(min(pair), max(pair), 2, 0.1) for pair in pairs]
        for one in run_with(rows, near, _GroupAlone(by_patient)):
            found.setdefault(one.group_id, set()).add(one.relative)
        return sorted(map("".join, map(sorted, found.values())))

    assert parts(False) == ["123", "4", "5", "6"]
    assert parts(True) == ["1234", "5", "6"]
    assert parts(False, ("6", "5"), ("5", "1")) == ["12356", "4"]
