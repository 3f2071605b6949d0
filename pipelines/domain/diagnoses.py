"""The table of diagnoses: what each source calls them, and which class they have in each class set.

Sources: class folders of the nine-class set; HAM10000 `dx` and the full names that its users give the classes; columns
of the ISIC challenges from 2016 to 2024 and of MILK10k; the ISIC archive's `diagnosis_1` to `diagnosis_5` and its older
`diagnosis`; PAD-UFES-20, Derm7pt, PH2, DDI, and Fitzpatrick17k where it means one of these; German and Spanish names of
the nine classes. `taxonomy` looks words up, and makes docs/taxonomy.md of this module.
"""

from __future__ import annotations

from typing import NamedTuple


class Diagnosis(NamedTuple):
    """One line of the table.

    The fields `isic9`, `isic2019`, `ham7` and `malignant` hold the class in the set of that name.
    """

    name: str
    # Names in any source, compared after `normalize_term`; other spellings need no line, see `spelling`.
    terms: tuple[str, ...]
    # The class in this set and the next three; empty if the set has none. If there are several, the first is used, and
    # each agrees with a more precise source.
    isic9: tuple[str, ...]
    isic2019: tuple[str, ...]
    ham7: tuple[str, ...]
    malignant: tuple[str, ...]


def _line(name: str, terms: str, isic9: str, isic2019: str, ham7: str, malignant: str) -> Diagnosis:
    def parts(text: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in text.split("|") if part.strip())

    return Diagnosis(name, (name, *parts(terms)), parts(isic9), parts(isic2019), parts(ham7), parts(malignant))


# fmt: off
TABLE: tuple[Diagnosis, ...] = (
    _line("melanoma",
          "mel | malignant melanoma | Melanoma, NOS | Melanoma Invasive | Melanoma in situ | Melanoma metastasis"
          " | Malignant melanocytic proliferations (Melanoma) | superficial spreading melanoma"
          " | superficial spreading melanoma ssm | nodular melanoma | nodular melanoma (nm) | lentigo maligna"
          " | lentigo maligna melanoma | acral lentiginous melanoma | melanoma acral lentiginous | acral melanoma"
          " | amelanotic melanoma | melanoma (in situ) | melanoma (less than 0.76 mm) | melanoma (0.76 to 1.5 mm)"
          " | melanoma (more than 1.5 mm)"
          " | Melanom | malignes Melanom | schwarzer Hautkrebs | Melanom in situ | noduläres Melanom"
          " | superfiziell spreitendes Melanom | lentigo maligna melanom | akrolentiginöses Melanom"
          " | melanoma maligno | melanoma nodular | lentigo maligno",
          "melanoma", "melanoma", "mel", "malignant"),
    _line("nevus",
          "nv | nev | naevus | melanocytic nevus | nevocytic nevus | Benign melanocytic proliferations"
          " | common nevus | benign nevus | atypical nevus | dysplastic nevus | clark nevus | blue nevus"
          " | combined nevus | compound nevus | congenital nevus | dermal nevus | intradermal nevus | junctional nevus"
          " | halo nevus | recurrent nevus | acral nevus | spitz nevus | reed nevus | reed or spitz nevus"
          " | pigmented spindle cell nevus of reed | atypical spindle cell nevus of reed"
          " | Nävus | melanozytärer Nävus | melanozytäre Nävi"
          " | melanocytärer Nävus | melanocytäre Nävi | Nävuszellnävus | NZN | Pigmentnävus | Muttermal"
          " | Leberfleck | dysplastischer Nävus | atypischer Nävus | blauer Nävus"
          " | nevo | nevo melanocítico | nevus melanocítico | nevo displásico | nevo atípico | nevo azul | lunar",
          "nevus", "nevus", "nv", "benign"),
    _line("basal cell carcinoma",
          "bcc | superficial basal cell carcinoma | nodular basal cell carcinoma | pigmented basal cell carcinoma"
          " | basal cell carcinoma superficial | basal cell carcinoma nodular | basal cell carcinoma morpheiform"
          " | solid cystic basal cell carcinoma"
          " | Basalzellkarzinom | Basalzell-Karzinom | Basalzellenkarzinom | Basalzellcarcinom | Basaliom | BZK"
          " | carcinoma basocelular | carcinoma de células basales | basalioma | CBC",
          "basal cell carcinoma", "basal cell carcinoma", "bcc", "malignant"),
    # The archive classifies it as indeterminate, neither benign nor malignant.
    _line("actinic keratosis",
          "ak | ack | Solar or actinic keratosis | solar keratosis | aktinische Keratose | solare Keratose"
          " | queratosis actínica | queratosis solar",
          "actinic keratosis", "actinic keratosis", "akiec", ""),
    # HAM10000, ISIC 2018 and MILK10k do not distinguish actinic keratosis and squamous cell carcinoma in situ. The
    # plural is what HAM10000's users call this class.
    _line("actinic keratosis or intraepithelial carcinoma",
          "akiec | actinic keratoses | actinic keratoses and intraepithelial carcinoma"
          " | actinic keratoses and intraepithelial carcinoma / Bowen's disease"
          " | Actinic keratosis / Bowen's disease (intraepithelial carcinoma)"
          " | actinic keratosis / intraepithelial carcinoma | actinic keratosis / intraepidermal carcinoma",
          "actinic keratosis | squamous cell carcinoma", "actinic keratosis | squamous cell carcinoma", "akiec", ""),
    # MILK10k counts keratoacanthoma with squamous cell carcinoma.
    _line("squamous cell carcinoma",
          "scc | sccka | squamous cell carcinoma / keratoacanthoma | squamous cell carcinoma keratoacanthoma"
          " | Squamous cell carcinoma, NOS | Squamous cell carcinoma, Invasive"
          " | Plattenepithelkarzinom | Plattenepithel-Karzinom | Plattenepithelcarcinom | Stachelzellkarzinom"
          " | spinozelluläres Karzinom | Spinaliom | PEK | carcinoma espinocelular | carcinoma escamoso"
          " | carcinoma escamocelular | carcinoma de células escamosas | carcinoma epidermoide | CEC",
          "squamous cell carcinoma", "squamous cell carcinoma", "", "malignant"),
    _line("squamous cell carcinoma in situ",
          "scc in situ | Bowen's disease | Bowens disease | Bowen disease | intraepithelial carcinoma"
          " | intraepidermal carcinoma | Morbus Bowen | enfermedad de Bowen",
          "squamous cell carcinoma", "squamous cell carcinoma", "akiec", "malignant"),
    # HAM10000, ISIC 2018 and 2019 do not distinguish seborrheic keratosis, solar lentigo and lichenoid keratosis.
    # The archive calls these HAM10000 images pigmented benign keratosis.
    _line("benign keratosis",
          "bkl | benign keratosis-like lesion | benign keratinocytic lesion | Benign epidermal proliferations"
          " | Benign keratosis (solar lentigo / seborrheic keratosis / lichen planus-like keratosis)"
          " | benigne Keratose | gutartige Keratose | queratosis benigna",
          "pigmented benign keratosis | seborrheic keratosis", "benign keratosis", "bkl", "benign"),
    _line("pigmented benign keratosis",
          "pigmentierte benigne Keratose | pigmentierte gutartige Keratose | queratosis benigna pigmentada"
          " | queratosis pigmentada benigna",
          "pigmented benign keratosis", "benign keratosis", "bkl", "benign"),
    _line("seborrheic keratosis",
          "sk | sek | seborrhoeic keratosis | seborrheic keratosis irritated | irritated seborrheic keratosis"
          " | seborrhoische Keratose | seborrhöische Keratose | Alterswarze | seborrhoische Warze"
          " | queratosis seborreica",
          "seborrheic keratosis", "benign keratosis", "bkl", "benign"),
    _line("solar lentigo",
          "lentigo | lentigo NOS | lentigo simplex | actinic lentigo | Lentigo solaris | Lentigo senilis"
          " | Altersfleck | léntigo solar",
          "pigmented benign keratosis", "benign keratosis", "bkl", "benign"),
    _line("lichenoid keratosis",
          "lichen planus-like keratosis | lplk | benign lichenoid keratosis | lichenoide Keratose"
          " | queratosis liquenoide",
          "pigmented benign keratosis", "benign keratosis", "bkl", "benign"),
    _line("dermatofibroma", "df | Dermatofibrom",
          "dermatofibroma", "dermatofibroma", "df", "benign"),
    # In the archive, HAM10000's vascular lesions have no `diagnosis_3`; `diagnosis_2` is the most precise term.
    _line("vascular lesion",
          "vasc | vascular skin lesion | vascular lesions and hemorrhage | angioma | cherry angioma | hemangioma"
          " | angiokeratoma | pyogenic granuloma | granuloma pyogenic | Benign soft tissue proliferations - Vascular"
          " | Gefäßläsion | Gefäß-Läsion | vaskuläre Läsion | Gefäßveränderung | Hämangiom | Angiom | Angiokeratom"
          " | Blutschwamm | lesión vascular | lesión cutánea vascular | granuloma piógeno",
          "vascular lesion", "vascular lesion", "vasc", "benign"),
    _line("scar", "keloid | Narbe | cicatriz", "", "", "", "benign"),
    # These have the word in their name, and are no melanocytic nevi.
    _line("other nevus",
          "epidermal nevus | becker nevus | nevus sebaceous | nevus sebaceous of jadassohn | naevus comedonicus"
          " | nevus lipomatosus superficialis",
          "", "", "", "benign"),
    _line("other benign lesion",
          "ben_oth | other benign proliferations | other benign proliferations, including collision tumors"
          " | benign - other | melanosis | cafe-au-lait macule | acral melanotic macule | verruca | verruca vulgaris"
          " | wart | acrochordon | fibroepithelial polyp | angiofibroma | angiofibroma or fibrous papule | neurofibroma"
          " | lipoma | clear cell acanthoma | inverted follicular keratosis | epidermal cyst"
          " | Warze | verruga",
          "", "", "", "benign"),
    _line("inflammatory or infectious condition",
          "inf | inflammatory and infectious conditions | inflammatory or infectious diseases",
          "", "", "", "benign"),
    _line("other malignant lesion",
          "mal_oth | other malignant proliferations | other malignant proliferations, including collision tumors"
          " | merkel cell carcinoma | sebaceous carcinoma | metastatic carcinoma | kaposi sarcoma | mycosis fungoides"
          " | subcutaneous t-cell lymphoma",
          "", "", "", "malignant"),
    # Sources count it as benign, as malignant, or with squamous cell carcinoma.
    _line("keratoacanthoma", "", "", "", "", ""),
    _line("atypical melanocytic proliferation",
          "aimp | Atypical intraepithelial melanocytic proliferation | Atypical melanocytic neoplasm"
          " | Indeterminate melanocytic proliferations",
          "", "", "", ""),
    _line("benign", "benign lesion | benigne | gutartig | benigno | benigna | lesión benigna", "", "", "", "benign"),
    _line("malignant", "malignant lesion | maligne | bösartig | maligno | maligna | lesión maligna",
          "", "", "", "malignant"),
    _line("indeterminate", "", "", "", "", ""),
    _line("unknown", "unk", "", "", "", ""),
)
# fmt: on

# Classes in label order.
CLASS_SETS: dict[str, tuple[str, ...]] = {
    "isic9": (
        "actinic keratosis",
        "basal cell carcinoma",
        "dermatofibroma",
        "melanoma",
        "nevus",
        "pigmented benign keratosis",
        "seborrheic keratosis",
        "squamous cell carcinoma",
        "vascular lesion",
    ),
    "isic2019": (
        "melanoma",
        "nevus",
        "basal cell carcinoma",
        "actinic keratosis",
        "benign keratosis",
        "dermatofibroma",
        "vascular lesion",
        "squamous cell carcinoma",
    ),
    "ham7": ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
    "malignant": ("benign", "malignant"),
}
