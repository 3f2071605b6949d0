"""What an audit counts and lists."""

from __future__ import annotations

from typing import Any

from pipelines.audit import findings
from pipelines.audit.collect import CountIdentities
from pipelines.curation.near_duplicates import NearPair
from pipelines.domain.labels import Claim
from tests.support.collecting import run
from tests.support.image_rows import row


def test_a_usable_row_counts_in_its_class_and_split_and_any_other_by_its_reason() -> None:
    usable = row("Train/a(1).jpg", outcome="usable", source="in", split="train", format="jpeg", folder_split="train")
    counts = findings.tally_finding(usable)
    assert counts["class", "nevus", "in"] == counts["split", "nevus", "train"] == counts["outcome", "usable"] == 1
    assert counts["numbered",] == counts["format", "jpeg"] == counts["given", "train"] == 1
    rejected = findings.tally_finding(row("b", given_split="test", folder_split="train").rejected("check", "empty", ""))
    assert rejected["reason", "check", "empty"] == rejected["given", "test"] == 1
    assert not {"class", "split", "numbered", "format"} & {key[0] for key in rejected}


def test_only_readable_images_have_a_size() -> None:
    assert list(findings.sizes_of(row("a", width=4, height=3))) == [(12, 4, 3)]
    assert list(findings.sizes_of(row("b"))) == []


def test_an_image_is_named_by_its_isic_id_or_else_within_its_source() -> None:
    assert findings.image_name(row("x/ISIC_0000001(2).jpg", source="in")) == "ISIC_0000001"
    names = {findings.image_name(row("1.jpg", source=source, image_id="1")) for source in ("one", "two")}
    assert len(names) == 2


def test_an_id_counts_by_how_far_it_holds() -> None:
    one = row("ISIC_0000001.jpg", lesion_ids=("L",), patient_ids=("P", "Q"))
    assert list(findings.ids_of(one)) == [
        ("image", "ISIC_0000001"),
        ("lesion", "L"),
        ("patient", "P"),
        ("patient", "Q"),
    ]
    assert findings.tally_id("image", "ISIC_0000001") == {("ids", "image"): 1}
    assert findings.tally_id("lesion", "HAM_1") == {("ids", "lesion"): 1, ("reach", "lesion", "archive"): 1}
    assert findings.tally_ids(("a", [(False, True), (False, False)])) == {("with", "lesion"): 0, ("with", "patient"): 1}


def test_ids_of_one_image_are_ids_of_one_lesion_and_it_is_counted_once() -> None:
    rows = [
        # Two photographs of one lesion, with the ids of two systems.
        row("a/ISIC_0000001.jpg", lesion_ids=("HAM_1", "IL_7"), patient_ids=("IP_1",)),
        row("a/ISIC_0000002.jpg", lesion_ids=("HAM_1", "IL_7")),
        # One photograph in two files.
        row("a/ISIC_0000003.jpg", lesion_ids=("HAM_2", "IL_8")),
        row("b/ISIC_0000003.jpg", lesion_ids=("IL_8",)),
        row("b/1.jpg", image_id="1", lesion_ids=("b #1",), patient_ids=("P",)),
        row("c/1.jpg", image_id="1", source="other", lesion_ids=("c #1",)),
        row("c/2.jpg", image_id="2"),
    ]
    (counts,) = run(rows, CountIdentities())
    assert {key: counts[key] for key in (("distinct", "lesion"), ("several", "lesion"), ("ids", "lesion"))} == {
        ("distinct", "lesion"): 4,
        ("several", "lesion"): 1,
        ("ids", "lesion"): 6,
    }
    assert [counts["reach", "lesion", reach] for reach in ("archive", "source", "anywhere")] == [4, 2, 0]
    assert (counts["distinct", "patient"], counts["several", "patient"], counts["reach", "patient", "anywhere"]) == (
        2,
        0,
        1,
    )
    assert (counts["ids", "image"], counts["with", "lesion"]) == (6, 5)


def test_a_conflict_holds_all_files_and_claims_in_order() -> None:
    rows = [
        row("b/1.jpg", image_id="1", claims=(Claim("folder", ("mel",), ("melanoma",)), Claim("t.csv", (), ()))),
        row("a/1.jpg", image_id="1", claims=(Claim("folder", ("nv",), ("nevus",)),)),
    ]
    for order in (rows, rows[::-1]):
        shown = findings.conflict_json(findings.make_conflict(order))
        assert shown == {
            "id": "1",
            "paths": ["/archive/a/1.jpg", "/archive/b/1.jpg"],
            "claims": [{"source": "folder", "labels": ["mel"]}, {"source": "folder", "labels": ["nv"]}],
        }


def test_near_duplicates_differ_where_both_have_a_label() -> None:
    def pair(first: Any, second: Any) -> Any:
        pictures = {"aa": findings.picture_of(row("1", label=first)), "bb": findings.picture_of(row("2", label=second))}
        return findings.pair_pictures(NearPair("aa", "bb", 3, 0.123456), pictures)

    assert findings.differs(pair("nevus", "melanoma"))
    assert not findings.differs(pair("nevus", "nevus"))
    assert not findings.differs(pair("nevus", ""))
    shown = findings.near_json(pair("nevus", "melanoma"))
    assert (shown["first"]["path"], shown["second"]["label"]) == ("/archive/1", "melanoma")
    assert (shown["hash_distance"], shown["pixel_distance"]) == (3, 0.1235)
