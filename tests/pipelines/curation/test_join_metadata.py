"""Which image a table speaks of."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from pipelines.curation.join_metadata import JoinTables, image_key, tables_to_read, with_facts
from pipelines.dataset.image_row import ImageRow
from pipelines.domain.labels import Claim
from pipelines.domain.metadata_columns import Facts
from pipelines.domain.taxonomy import built_in_set
from pipelines.sources.source import Source, Table
from tests.support.collecting import run

ISIC9 = built_in_set("isic9")


def csv_file(path: Path, *rows: tuple[str, ...]) -> str:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return str(path)


def test_local_ids_hold_within_their_source_and_isic_ids_everywhere(tmp_path: Path) -> None:
    header = ("image_id", "dx", "lesion_id")
    first = csv_file(tmp_path / "first.csv", header, ("1.jpg", "mel", "A"), ("ISIC_0000001", "bcc", "B"))
    second = csv_file(tmp_path / "second.csv", header, ("1", "nv", "C"))
    shared = csv_file(tmp_path / "shared.csv", ("image_id", "patient_id"), ("1", "anna"), ("ISIC_0000001.jpg", "bert"))
    sources = [
        Source("one", "/one", tables=(Table(first, name="first.csv"),)),
        Source("two", "/two", tables=(Table(second, name="second.csv"),)),
        Source("three", "/three"),
    ]
    rows = [
        ImageRow(f"/{name}/{image}.jpg", f"{image}.jpg", source=name, image_id=image)
        for name in ("one", "two", "three")
        for image in ("1", "ISIC_0000001")
    ]
    joined = run(rows, JoinTables(sources, [Table(shared, name="shared.csv")], ISIC9))
    said = {
        (row.source, row.image_id): (tuple(claim.classes[0] for claim in row.claims), row.lesion_ids, row.patient_ids)
        for row in joined
    }
    everywhere = (("basal cell carcinoma",), ("B",), ("bert",))
    assert said == {
        ("one", "1"): (("melanoma",), ("A",), ("anna",)),
        ("two", "1"): (("nevus",), ("C",), ("anna",)),
        ("three", "1"): ((), (), ("anna",)),
        ("one", "ISIC_0000001"): everywhere,
        ("two", "ISIC_0000001"): everywhere,
        ("three", "ISIC_0000001"): everywhere,
    }
    assert {row.claims[0].owners for row in joined if row.source == "one"} == {("one",)}


def test_lesions_that_are_plain_numbers_are_those_of_their_source(tmp_path: Path) -> None:
    header = ("image_id", "lesion_id", "patient_id")
    first = csv_file(tmp_path / "first.csv", header, ("a", "1", "7"), ("b", "IL_1", "P"))
    second = csv_file(tmp_path / "second.csv", header, ("c", "1", "IP_7"), ("d", "IL_1", "P"))
    shared = csv_file(tmp_path / "shared.csv", header, ("a", "HAM_1", "7"), ("c", "HAM_2", ""))

    def said(*sources: Source, tables: Sequence[Table] = ()) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
        rows = [
            ImageRow(f"{source.path}/{name}.jpg", f"{name}.jpg", source=source.name, image_id=name)
            for source, names in zip(sources, ("ab", "cd"), strict=False)
            for name in names
        ]
        return {
            row.image_id: (row.lesion_ids, row.patient_ids) for row in run(rows, JoinTables(sources, tables, ISIC9))
        }

    one = Source("/old/one", "/old/one", tables=(Table(first, name="first.csv"),))
    two = Source("/old/two", "/old/two", tables=(Table(second, name="second.csv"),))
    assert said(one, two) == {
        "a": (("one #1",), ("one #7",)),
        "b": (("IL_1",), ("P",)),
        "c": (("two #1",), ("IP_7",)),
        "d": (("IL_1",), ("P",)),
    }
    assert said(one) == {"a": (("1",), ("7",)), "b": (("IL_1",), ("P",))}
    # A table of several sources counts for itself.
    both = said(one, two, tables=[Table(shared, name="shared.csv")])
    assert both["a"] == (("HAM_1", "one #1"), ("one #7", "shared.csv #7"))
    assert both["c"] == (("HAM_2", "two #1"), ("IP_7",))
    # Where one table alone counts, its numbers are told apart from no others.
    alone = said(one._replace(tables=()), two._replace(tables=()), tables=[Table(second, name="second.csv")])
    assert alone["c"] == (("1",), ("IP_7",))


def test_a_table_of_two_sources_speaks_of_both_and_is_read_once(tmp_path: Path) -> None:
    table = Table(csv_file(tmp_path / "t.csv", ("image_id", "dx"), ("1", "mel")), name="t.csv")
    sources = [Source("one", "/one", tables=(table,)), Source("two", "/two", tables=(table._replace(found=True),))]
    rows = [ImageRow(f"/{name}/1.jpg", "1.jpg", source=name, image_id="1") for name in ("one", "two")]
    joined = run(rows, JoinTables(sources, [], ISIC9))
    assert [row.claims for row in joined] == [(Claim("t.csv", ("mel",), ("melanoma",), ("one", "two")),)] * 2


def test_a_row_that_stands_twice_says_it_once_and_two_that_differ_both_count(tmp_path: Path) -> None:
    same, other = ("ISIC_0000001", "mel", "L"), ("ISIC_0000002", "nv", "")
    table = csv_file(
        tmp_path / "t.csv", ("image_id", "dx", "lesion_id"), same, other, same, ("isic_0000002.jpg", "bcc", "")
    )
    sources = [Source("one", "/one", tables=(Table(table, name="t.csv"),))]
    rows = [ImageRow(f"/one/{name}.jpg", f"{name}.jpg", source="one", image_id=name) for name in (same[0], other[0])]
    joined = {row.image_id: row for row in run(rows, JoinTables(sources, [], ISIC9))}
    assert [claim.classes for claim in joined[same[0]].claims] == [("melanoma",)]
    assert joined[same[0]].lesion_ids == ("L",)
    assert [claim.classes for claim in joined[other[0]].claims] == [("basal cell carcinoma",), ("nevus",)]


def test_isic_ids_are_joined_everywhere_and_other_ids_within_their_source() -> None:
    assert image_key("one", "ISIC_0000001") == image_key("two", "ISIC_0000001")
    assert image_key("one", "1") != image_key("two", "1")


def test_a_table_is_read_once_whoever_names_it() -> None:
    mine, ours = Table("/m.csv", name="m.csv"), Table("/o.csv", name="o.csv")
    sources = [Source("one", "/one", tables=(mine, ours)), Source("two", "/two", tables=(mine,))]
    found = {speaker.path: (speaker.sources, speaker.owners) for speaker in tables_to_read(sources, [ours])}
    assert found == {"/o.csv": (("one", "two"), ("one",)), "/m.csv": (("one", "two"), ("one", "two"))}
    alone = tables_to_read([Source("one", "/one"), Source("two", "/two", tables=(mine,))], [])
    assert [(speaker.sources, speaker.owners) for speaker in alone] == [(("two",), ("two",))]


def test_facts_of_several_tables_are_all_kept_in_order_and_once() -> None:
    facts = [
        Facts("b.csv", ("mel",), "L2", "", "CC-0"),
        Facts("a.csv", ("nv",), "L1", "P", "CC-0", "anna"),
        Facts("c.csv", (), "L1"),
    ]
    row = ImageRow("a", "a", claims=(Claim("folder", ("scar",), ()),))
    for order in (facts, facts[::-1]):
        joined = with_facts(row, order, ISIC9)
        assert [claim.source for claim in joined.claims] == ["a.csv", "b.csv", "folder"]
        assert joined.tables == ("a.csv", "b.csv", "c.csv")
        assert (joined.lesion_ids, joined.patient_ids) == (("L1", "L2"), ("P",))
        assert (joined.licenses, joined.attributions) == (("CC-0",), ("anna",))
