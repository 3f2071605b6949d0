"""Terms of every origin and the classes that they stand for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pipelines.domain import taxonomy
from pipelines.domain.diagnoses import CLASS_SETS, TABLE
from tests.support.class_names import classes


@pytest.mark.parametrize(
    ("label", "isic9", "isic2019", "ham7", "malignant"),
    [
        ("mel", "melanoma", "melanoma", "mel", "malignant"),
        ("Melanoma in situ", "melanoma", "melanoma", "mel", "malignant"),
        ("NV", "nevus", "nevus", "nv", "benign"),
        ("Basal_Cell-Carcinoma", "basal cell carcinoma", "basal cell carcinoma", "bcc", "malignant"),
        ("Solar or actinic keratosis", "actinic keratosis", "actinic keratosis", "akiec", None),
        ("akiec", "actinic keratosis", "actinic keratosis", "akiec", None),
        ("SCC", "squamous cell carcinoma", "squamous cell carcinoma", None, "malignant"),
        ("bkl", "pigmented benign keratosis", "benign keratosis", "bkl", "benign"),
        ("seborrheic keratosis", "seborrheic keratosis", "benign keratosis", "bkl", "benign"),
        ("Benign soft tissue proliferations - Vascular", "vascular lesion", "vascular lesion", "vasc", "benign"),
        ("Scar", None, None, None, "benign"),
        ("UNK", None, None, None, None),
        ("Melanocytic nevi", "nevus", "nevus", "nv", "benign"),
        ("melanocytic_Nevi", "nevus", "nevus", "nv", "benign"),
        ("Benign keratosis-like lesions", "pigmented benign keratosis", "benign keratosis", "bkl", "benign"),
        ("Actinic keratoses", "actinic keratosis", "actinic keratosis", "akiec", None),
        ("Vascular lesions", "vascular lesion", "vascular lesion", "vasc", "benign"),
        ("Melanocytic Nevi (NV)", "nevus", "nevus", "nv", "benign"),
        ("haemangiomas", "vascular lesion", "vascular lesion", "vasc", "benign"),
        ("Bowen\u2019s disease", "squamous cell carcinoma", "squamous cell carcinoma", "akiec", "malignant"),
        ("SCCKA", "squamous cell carcinoma", "squamous cell carcinoma", None, "malignant"),
        ("BEN_OTH", None, None, None, "benign"),
        ("INF", None, None, None, "benign"),
        ("MAL_OTH", None, None, None, "malignant"),
        ("Lichen planus like keratosis", "pigmented benign keratosis", "benign keratosis", "bkl", "benign"),
        ("Atypical melanocytic neoplasm", None, None, None, None),
        ("ACK", "actinic keratosis", "actinic keratosis", "akiec", None),
        ("NEV", "nevus", "nevus", "nv", "benign"),
        ("SEK", "seborrheic keratosis", "benign keratosis", "bkl", "benign"),
        ("melanoma (0.76 to 1.5 mm)", "melanoma", "melanoma", "mel", "malignant"),
        ("reed or spitz nevus", "nevus", "nevus", "nv", "benign"),
        ("lentigo", "pigmented benign keratosis", "benign keratosis", "bkl", "benign"),
        ("melanosis", None, None, None, "benign"),
        ("miscellaneous", None, None, None, None),
        ("nodular-melanoma-(nm)", "melanoma", "melanoma", "mel", "malignant"),
        ("basal-cell-carcinoma-superficial", "basal cell carcinoma", "basal cell carcinoma", "bcc", "malignant"),
        ("epidermal-nevus", None, None, None, "benign"),
        ("squamous-cell-carcinoma-keratoacanthoma", *["squamous cell carcinoma"] * 2, None, "malignant"),
        ("superficial spreading melanoma ssm", "melanoma", "melanoma", "mel", "malignant"),
        ("nevus sebaceous of jadassohn", None, None, None, "benign"),
        ("2. Melanoma 15.75k", "melanoma", "melanoma", "mel", "malignant"),
        ("5. Melanocytic Nevi (NV) - 7970", "nevus", "nevus", "nv", "benign"),
        ("01_nv", "nevus", "nevus", "nv", "benign"),
        ("bcc - Basal cell carcinomas", "basal cell carcinoma", "basal cell carcinoma", "bcc", "malignant"),
        ("MEL_Melanoma", "melanoma", "melanoma", "mel", "malignant"),
        ("8. Seborrheic Keratoses and other Benign Tumors - 1.8k", None, None, None, None),
        ("melanoma_0", None, None, None, None),
        ("nevus melanoma", None, None, None, None),
        ("no melanoma", None, None, None, None),
        ("keratoacanthoma", None, None, None, None),
        ("anything else", None, None, None, None),
    ],
)
def test_each_term_in_each_class_set(
    label: str, isic9: str | None, isic2019: str | None, ham7: str | None, malignant: str | None
) -> None:
    for name, expected in (("isic9", isic9), ("isic2019", isic2019), ("ham7", ham7), ("malignant", malignant)):
        assert (classes(name, label) or (None,))[0] == expected, name


GERMAN_AND_SPANISH = {
    "melanoma": ("Melanom", "Melanome", "malignes Melanom", "Melanoma maligno"),
    "nevus": ("N\u00e4vus", "Na\u0308vus", "Naevus", "N\u00c4VI", "Navus", "Muttermal", "Nevo", "nevos", "Lunares"),
    "basal cell carcinoma": ("Basalzellkarzinom", "Basaliome", "Carcinoma_basocelular", "Carcinomas basocelulares"),
    "squamous cell carcinoma": (
        "Plattenepithelkarzinome",
        "Spinaliom",
        "Carcinoma espinocelular",
        "carcinoma-escamoso",
    ),
    "actinic keratosis": (
        "aktinische Keratose",
        "Aktinische_Keratosen",
        "Queratosis acti\u0301nica",
        "queratosis actinica",
    ),
    "seborrheic keratosis": ("Seborrhoische Keratosen", "seborrhoeische Keratose", "Queratosis seborreica"),
    "dermatofibroma": ("Dermatofibrom", "Dermatofibrome", "dermatofibromas"),
    "vascular lesion": (
        *("Gef\u00e4\u00dfl\u00e4sion", "Gefa\u0308\u00dfla\u0308sionen", "Gefaesslaesionen", "GEF\u00c4SSL\u00c4SION"),
        *("Gefasslasion", "H\u00e4mangiome", "haemangiom", "Lesi\u00f3n vascular", "lesiones_vasculares", "Hemangioma"),
    ),
}


@pytest.mark.parametrize("name", GERMAN_AND_SPANISH)
def test_german_and_spanish_names_are_known_with_and_without_umlauts_and_accents(name: str) -> None:
    terms = GERMAN_AND_SPANISH[name]
    assert {term: classes("isic9", term) for term in terms} == dict.fromkeys(terms, (name,))
    own = taxonomy.named_set(
        ["nevus", name, "melanoma"] if name not in ("nevus", "melanoma") else ["nevus", "melanoma"]
    )
    assert {own.classes_of([term]) for term in terms} == {(name,)}


def test_classes_of_ones_own_may_have_umlauts_and_accents() -> None:
    own = taxonomy.mapped_set({"N\u00e4vus": [], "Lesi\u00f3n": ["\u00dcbriges"]})
    said = [own.classes_of([term]) for term in ("Naevus", "Na\u0308vi", "navus", "lesion", "UEBRIGES", "ubriges")]
    assert said == [("N\u00e4vus",)] * 3 + [("Lesi\u00f3n",)] * 3


def test_names_that_say_nothing_stand_for_no_class() -> None:
    for name in (
        "data",
        "images",
        "train",
        "val_dir",
        "dataset",
        "dfs",
        "raw",
        "0",
        "1",
        "lesions",
        "all lesions",
        "(nv)",
        "moles",
    ):
        assert [classes(each, name) for each in CLASS_SETS] == [()] * len(CLASS_SETS), name


def test_a_short_name_in_brackets_must_agree_with_the_long_one() -> None:
    assert classes("isic9", "Melanoma (BCC)") == ()
    assert classes("isic9", "Melanoma (skin cancer)") == ()
    assert classes("isic9", "Malignant Melanoma (MM)") == classes("isic9", "malignes Melanom (MM)") == ("melanoma",)
    assert classes("isic9", "Superficial spreading melanoma (SSM)") == ("melanoma",)
    assert classes("isic9", "Malignant Melanoma (M)") == classes("isic9", "Malignant Melanoma (NV)") == ()
    assert classes("isic9", "actinic keratosis (akiec)") == ("actinic keratosis",)
    assert classes("isic9", "Actinic keratoses (akiec)") == ("actinic keratosis", "squamous cell carcinoma")


def test_the_plural_of_the_users_own_class_is_that_class() -> None:
    own = taxonomy.named_set(["nevus", "melanoma"])
    assert (own.classes_of(["Naevi"]), own.classes_of(["melanomas"])) == (("nevus",), ("melanoma",))


@pytest.mark.parametrize("precise", ["Verruca", "Epidermal nevus", "Clear cell acanthoma (CCA)", "Becker naevus"])
def test_a_diagnosis_without_a_class_is_not_taken_for_a_broader_one(precise: str) -> None:
    archive = (precise, "Benign epidermal proliferations", "Benign")
    assert [classes(name, *archive) for name in ("isic9", "isic2019", "ham7")] == [(), (), ()]
    assert classes("malignant", *archive) == ("benign",)
    own = taxonomy.named_set(["melanoma", "seborrheic keratosis", "benign"])
    assert own.classes_of(archive) == ("benign",)
    assert own.classes_of(["solar lentigo", "Benign epidermal proliferations"]) == ()
    assert taxonomy.mapped_set({"a": ["Benign epidermal proliferations"]}).classes_of(archive) == ("a",)


def test_a_term_that_is_not_known_leaves_the_broader_one_to_count() -> None:
    vascular = ("", "Benign soft tissue proliferations - Vascular", "Benign")
    assert classes("isic9", *vascular) == classes("isic9", "Spindle thing", *vascular) == ("vascular lesion",)
    assert classes("isic9", "Indeterminate", "Solar or actinic keratosis") == ("actinic keratosis",)


def test_the_table_is_consistent() -> None:
    terms = Counter(taxonomy.normalize_term(term) for line in TABLE for term in line.terms)
    assert [term for term, count in terms.items() if count > 1] == []
    for name, members in CLASS_SETS.items():
        used = {member for line in TABLE for member in getattr(line, name)}
        assert used == set(members), name
        assert all(classes(name, member)[0] == member for member in members)


def test_the_documented_table_is_the_table() -> None:
    documented = Path(__file__).resolve().parents[3] / "docs" / "taxonomy.md"
    assert documented.read_text(encoding="utf-8") == taxonomy.markdown()


def test_the_most_precise_label_that_stands_for_a_class_is_taken() -> None:
    assert classes("isic9", "Nevus, NOS, Junctional", "Nevus", "Benign") == ("nevus",)
    assert classes("malignant", "unknown", "benign") == ("benign",)
    assert classes("isic9", "unknown", "benign") == ()
