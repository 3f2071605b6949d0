"""The label of an image: what folders and tables claim, and what is done when they disagree."""

from __future__ import annotations

import itertools

import pytest

from pipelines.domain.labels import Claim, claimed_classes, folder_claim, make_claim, resolve_label, table_claims
from pipelines.domain.taxonomy import ClassSet, built_in_set, mapped_set, named_set
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


@pytest.mark.parametrize(
    ("class_set", "hot", "expected"),
    [
        (ISIC9, ["NV"], "nevus"),
        (ISIC9, ["MEL", "NV"], "label_conflict"),
        (ISIC9, ["NV", "UNK"], "label_conflict"),
        (ISIC9, [], "unmapped_label"),
        (ISIC9, ["UNK"], "unmapped_label"),
        (named_set(["melanoma", "nevus"]), ["MEL", "DF"], "label_conflict"),
        # Both are malignant: in this set they agree.
        (built_in_set("malignant"), ["MEL", "BCC"], "malignant"),
        (built_in_set("malignant"), ["MEL", "NV"], "label_conflict"),
    ],
)
def test_a_row_with_two_ones_contradicts_itself(class_set: ClassSet, hot: list[str], expected: str) -> None:
    decision = resolve_label(table_claims("t.csv", [], hot, class_set))
    assert expected in (decision.label, decision.reason)
    trusting = resolve_label([*table_claims("t.csv", [], hot, class_set), claim("folder", "melanoma")], "t.csv")
    if len(hot) > 1 and decision.reason:
        first, second = sorted(hot)
        assert decision.message == f"filed as {first!r} (t.csv), {second!r} (t.csv)"
        assert trusting.reason == "label_conflict"


def test_words_and_one_hot_columns_of_a_row_must_agree() -> None:
    assert resolve_label(table_claims("t.csv", ["nevus"], ["NV"], ISIC9)).label == "nevus"
    assert resolve_label(table_claims("t.csv", ["nevus"], ["MEL"], ISIC9)).reason == "label_conflict"


@pytest.mark.parametrize(
    ("class_set", "labels", "expected"),
    [
        # benign_malignant and target of one row; a diagnosis and either of them; two columns of diagnoses.
        (built_in_set("malignant"), ["benign", "malignant"], "label_conflict"),
        (built_in_set("malignant"), ["melanoma", "benign", "benign"], "label_conflict"),
        (built_in_set("malignant"), ["actinic keratosis", "benign", "malignant"], "label_conflict"),
        (built_in_set("malignant"), ["melanoma", "malignant"], "malignant"),
        (ISIC9, ["nevus", "mel"], "label_conflict"),
        (ISIC9, ["melanoma", "benign"], "melanoma"),
        (ISIC9, ["Solar lentigo", "Benign epidermal proliferations", "Benign"], "pigmented benign keratosis"),
        (ISIC9, ["squamous cell carcinoma in situ", "akiec"], "squamous cell carcinoma"),
    ],
)
def test_the_columns_of_a_row_must_agree(class_set: ClassSet, labels: list[str], expected: str) -> None:
    decision = resolve_label(table_claims("t.csv", labels, [], class_set))
    assert expected in (decision.label, decision.reason)


def test_a_placeholder_is_no_label_unless_it_names_a_class() -> None:
    assert table_claims("t.csv", ["unknown", "NA"], [], ISIC9) == []
    (said,) = table_claims("t.csv", ["unknown", "benign"], [], built_in_set("malignant"))
    assert said.labels == ("benign",)
    other = mapped_set({"mel": [], "other": ["unknown"]})
    assert resolve_label(table_claims("t.csv", ["unknown"], [], other)).label == "other"


def test_a_folder_of_a_diagnosis_without_a_class_is_not_its_parent() -> None:
    assert folder_claim(["Verruca", "benign keratosis"], ISIC9).classes == ()
    assert folder_claim(["pictures", "benign keratosis"], ISIC9).labels == ("benign keratosis",)
