"""The label of an image: what folders and tables claim, and what is done when they disagree."""

from __future__ import annotations

import itertools

import pytest

from pipelines.domain.labels import Claim, claimed_classes, make_claim, resolve_label
from tests.support.class_names import ISIC9


def claim(source: str, *labels: str) -> Claim:
    return make_claim(source, labels, ISIC9)


@pytest.mark.parametrize(
    ("claims", "trust", "expected"),
    [
        ([claim("folder", "nevus")], "", "nevus"),
        ([claim("folder", "nevus"), claim("t.csv", "nv")], "", "nevus"),
        ([claim("folder", "images"), claim("t.csv", "mel")], "", "melanoma"),
        ([claim("t.csv", "akiec")], "", "actinic keratosis"),
        ([claim("t.csv", "akiec"), claim("folder", "squamous cell carcinoma")], "", "squamous cell carcinoma"),
        ([claim("t.csv", "bkl"), claim("folder", "seborrheic keratosis")], "", "seborrheic keratosis"),
        ([claim("t.csv", "mel"), claim("folder", "nevus")], "", "label_conflict"),
        ([claim("t.csv", "mel"), claim("folder", "nevus")], "t.csv", "melanoma"),
        ([claim("t.csv", "mel"), claim("folder", "nevus")], "folder", "nevus"),
        ([claim("folder", "mel"), claim("folder", "nevus")], "t.csv", "label_conflict"),
        ([claim("t.csv", "unknown"), claim("folder", "nevus")], "t.csv", "nevus"),
        ([claim("folder", "images"), claim("t.csv", "unknown")], "", "unmapped_label"),
        ([], "", "unmapped_label"),
    ],
)
def test_decisions_do_not_depend_on_order(claims: list[Claim], trust: str, expected: str) -> None:
    for order in itertools.permutations(claims):
        decision = resolve_label(order, trust)
        assert expected in (decision.label, decision.reason)
        assert bool(decision.message) == bool(decision.reason)


def test_a_conflict_names_labels_and_sources() -> None:
    decision = resolve_label([claim("folder", "nevus"), claim("HAM.csv", "mel")])
    assert decision.message == "filed as 'mel' (HAM.csv), 'nevus' (folder)"


def test_trust_means_a_folder_a_table_or_all_that_a_source_says() -> None:
    def claim(source: str, label: str, *owners: str) -> Claim:
        return Claim(source, (label,), (label,), owners)

    claims = [
        claim("folder", "nevus", "one"),
        claim("folder", "melanoma", "two"),
        claim("two/metadata.csv", "melanoma", "two"),
        claim("one/metadata.csv", "nevus", "one"),
        claim("ham.csv", "df"),
    ]
    expected = {
        "one": "nevus",
        "two": "melanoma",
        "one/metadata.csv": "nevus",
        "ham.csv": "df",
        "metadata.csv": "label_conflict",
        "folder": "label_conflict",
        "": "label_conflict",
    }
    for trust, outcome in expected.items():
        decision = resolve_label(claims, trust)
        assert (decision.label or decision.reason) == outcome, trust


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ([("melanoma",), ("nevus",)], ("melanoma", "nevus")),
        ([("nevus",), ("nevus", "melanoma")], ("nevus",)),
        ([("nevus",), ("scar", "wart")], ("nevus", "scar or wart")),
        ([(), ("nevus",)], ("nevus",)),
    ],
)
def test_a_conflict_is_between_the_classes_that_claims_name(classes: list[tuple[str]], said: tuple[str, ...]) -> None:
    claims = [Claim(f"t{number}.csv", ("x",), names) for number, names in enumerate(classes)]
    assert claimed_classes(claims) == claimed_classes(claims[::-1]) == said
