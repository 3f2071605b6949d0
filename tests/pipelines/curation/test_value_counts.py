"""Values of rows that a report lists."""

from __future__ import annotations

from pipelines.curation.value_counts import VALUES, FrequentValues, values_of
from pipelines.domain.labels import Claim
from tests.support.collecting import run
from tests.support.image_rows import row


def test_a_row_has_a_size_its_licences_and_the_label_that_has_no_class() -> None:
    known = row("a", width=60, height=40, licenses=("cc-by", "CC BY", "CC-0"))
    assert sorted(values_of(known)) == [("license", "CC-0"), ("license", "CC-BY"), ("size", "60 40")]
    assert list(values_of(row("b"))) == [("license", "unknown")]
    claims = (Claim("folder", ("images",), ()), Claim("t.csv", ("lentigo", "benign"), ()))
    unmapped = row("c", claims=claims).rejected("label", "unmapped_label", "no class")
    assert ("unmapped_label", "lentigo") in list(values_of(unmapped))
    # Where no table says anything, the folder's name is what has no class.
    assert ("unmapped_label", "images") in list(values_of(unmapped._replace(claims=claims[:1])))
    nested = (Claim("folder", ("images", "Mole", "train_dir", "base"), ()),)
    assert ("unmapped_label", "Mole") in list(values_of(unmapped._replace(claims=nested)))
    assert ("unmapped_label", "") in list(values_of(unmapped._replace(claims=())))


def test_the_most_frequent_values_come_first_and_ties_by_name() -> None:
    rows = [row(f"{n}", width=10 + n, height=10) for n in range(VALUES + 5)]
    rows += [row(f"more{n}", width=12, height=10, licenses=("CC-0",)) for n in range(2)]
    found = dict(run(rows, FrequentValues()))
    assert found["license"] == [("unknown", VALUES + 5), ("CC-0", 2)]
    assert found["size"][:3] == [("12 10", 3), ("10 10", 1), ("11 10", 1)]
    assert len(found["size"]) == VALUES
    assert dict(run(rows, FrequentValues(["license"]))) == {"license": found["license"]}
