"""From folders and tables of every origin to one class: the taxonomy, the tables, the decision."""

from __future__ import annotations

import csv
import itertools
import json
from collections import Counter
from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from pipelines.curation import options as curation_options
from pipelines.curation.curate import reject_license
from pipelines.curation.deduplicate import merge_files
from pipelines.curation.given_splits import read_splits
from pipelines.dataset.image_row import SIDES, ImageRow
from pipelines.domain import taxonomy
from pipelines.domain.labels import Claim, make_claim, resolve_label
from pipelines.domain.metadata_columns import Columns
from pipelines.prepare.options import parse_options
from pipelines.sources import metadata_tables

ANY = Columns()


def require(path, columns=ANY):
    metadata_tables.require_columns("--metadata", path, metadata_tables.require_table("--metadata", path), columns)


def classes(name, *labels):
    return taxonomy.built_in_set(name).classes_of(labels)


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
        ("anything else", None, None, None, None),
    ],
)
def test_each_term_in_each_class_set(label, isic9, isic2019, ham7, malignant):
    for name, expected in (("isic9", isic9), ("isic2019", isic2019), ("ham7", ham7), ("malignant", malignant)):
        assert (classes(name, label) or (None,))[0] == expected, name


def test_the_table_is_consistent():
    terms = Counter(taxonomy.normalize_term(term) for line in taxonomy.TABLE for term in line.terms)
    assert [term for term, count in terms.items() if count > 1] == []
    for name, members in taxonomy.CLASS_SETS.items():
        used = {member for line in taxonomy.TABLE for member in getattr(line, name)}
        assert used == set(members), name
        assert all(classes(name, member)[0] == member for member in members)


def test_the_documented_table_is_the_table():
    documented = Path(__file__).resolve().parents[3] / "docs" / "taxonomy.md"
    assert documented.read_text(encoding="utf-8") == taxonomy.markdown()


def test_the_most_precise_label_that_stands_for_a_class_is_taken():
    assert classes("isic9", "Nevus, NOS, Junctional", "Nevus", "Benign") == ("nevus",)
    assert classes("malignant", "unknown", "benign") == ("benign",)
    assert classes("isic9", "unknown", "benign") == ()


def test_class_sets_of_the_users_own(tmp_path):
    assert curation_options.resolve_classes("isic9").classes == taxonomy.CLASS_SETS["isic9"]
    own = curation_options.resolve_classes("Nevus, melanoma")
    assert own.classes == ("nevus", "melanoma")
    assert own.classes_of(["mel"]) == ("melanoma",)
    assert own.classes_of(["bcc"]) == ()
    mapping = tmp_path / "classes.json"
    mapping.write_text(json.dumps({"dark": ["nv", "mel"], "other": []}))
    mapped = curation_options.resolve_classes(str(mapping))
    assert (mapped.classes, mapped.classes_of(["MEL"]), mapped.classes_of(["melanoma"])) == (
        ("dark", "other"),
        ("dark",),
        (),
    )
    (tmp_path / "classes.yaml").write_text("dark: [nv, mel]\nother: [bcc]\n")
    assert curation_options.resolve_classes(str(tmp_path / "classes.yaml")).classes_of(["bcc"]) == ("other",)


@pytest.mark.parametrize("value", ["isic99", "", "nevus,nevus", "/missing.json"])
def test_class_sets_that_are_none(value):
    with pytest.raises(UsageError, match="--classes"):
        curation_options.resolve_classes(value)


@pytest.mark.parametrize("content", ["[1, 2]", "{a: b, c: d}", "{only: [x]}", "{a: [", ""])
def test_mapping_files_that_are_none(tmp_path, content):
    path = tmp_path / "classes.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"--classes .*classes.yaml"):
        curation_options.resolve_classes(str(path))


ISIC9 = taxonomy.built_in_set("isic9")


def claim(source, *labels):
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
def test_decisions_do_not_depend_on_order(claims, trust, expected):
    for order in itertools.permutations(claims):
        decision = resolve_label(order, trust)
        assert expected in (decision.label, decision.reason)
        assert bool(decision.message) == bool(decision.reason)


def test_a_conflict_names_labels_and_sources():
    decision = resolve_label([claim("folder", "nevus"), claim("HAM.csv", "mel")])
    assert decision.message == "filed as 'mel' (HAM.csv), 'nevus' (folder)"


def row(relative, sha256, label="nevus", **values):
    return ImageRow(
        f"/a/{relative}",
        relative,
        sha256=sha256,
        claims=(Claim("folder", (label,), (label,)),),
        **{"width": 10, "height": 10, **values},
    )


def test_one_image_in_two_downloads_is_kept_once_at_its_best():
    rows = [
        row("small/ISIC_0000001.jpg", "1", lesion_ids=("IL_1",)),
        row("large/ISIC_0000001.jpg", "2", width=600, height=450, licenses=("CC-0",)),
        row("ISIC_0000001(1).jpg", "1"),
    ]
    for order in itertools.permutations(rows):
        kept, *others = merge_files(order)
        assert (kept.relative, kept.lesion_ids, kept.licenses) == ("large/ISIC_0000001.jpg", ("IL_1",), ("CC-0",))
        assert {other.reason for other in others} == {"same_image"}
    first, second = merge_files([rows[0], rows[2]])
    assert (first.outcome, second.reason) == ("", "duplicate")


def test_duplicates_keep_the_original_name_and_the_side_that_is_asked_for():
    kept, dropped = merge_files([row("x/ISIC_0025509(1).jpg", "1"), row("x/ISIC_0025509.jpg", "1")])
    assert (kept.relative, dropped.outcome) == ("x/ISIC_0025509.jpg", "duplicate")
    rows = [row("Test/a.jpg", "1", given_split="test"), row("Train/aa.jpg", "1", given_split="train"), row("b", "1")]
    for on_leakage, place in (("remove_from_test", "Train/aa.jpg"), ("remove_from_train", "Test/a.jpg")):
        for order in itertools.permutations(rows):
            kept, *others = merge_files(order, sides=SIDES[on_leakage])
            assert (kept.relative, {other.outcome for other in others}) == (place, {"duplicate"})


def test_two_labels_reject_every_file_of_the_image():
    rows = [row("nevus/a.jpg", "1"), row("nevus/b.jpg", "1"), row("mel/a.jpg", "1", label="melanoma")]
    assert [r.reason for r in merge_files(rows)] == ["label_conflict"] * 3


def table(path, header, *lines):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *(line.split(",") for line in lines)])
    return str(path)


@pytest.mark.parametrize(
    ("header", "line", "expected"),
    [
        ("isic_id,diagnosis_1,diagnosis_2,diagnosis_3", "ISIC_0000001,Benign,B m p,Nevus", "nevus"),
        (
            "isic_id,diagnosis_2,diagnosis_3",
            "ISIC_0000001,Benign soft tissue proliferations - Vascular,",
            "vascular lesion",
        ),
        ("isic_id,benign_malignant,diagnosis", "ISIC_0000001,malignant,melanoma", "melanoma"),
        ("lesion_id,image_id,dx,dx_type", "L,ISIC_0000001,bcc,histo", "basal cell carcinoma"),
        ("image,MEL,NV,BCC,AKIEC,BKL,DF,VASC", "ISIC_0000001,0.0,0.0,0.0,0.0,0.0,1.0,0.0", "dermatofibroma"),
        ("image,MEL,NV,AK,SCC,UNK", "ISIC_0000001_downsampled,0,0,0,1,0", "squamous cell carcinoma"),
        ("image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK", "ISIC_0000001,0,0,0,0,0,0,0,0,1", None),
        ("image_name,diagnosis,benign_malignant,target", "ISIC_0000001,nevus,benign,0", "nevus"),
    ],
)
def test_tables_of_every_origin(tmp_path, header, line, expected):
    path = table(tmp_path / "t.csv", header, line)
    require(path)
    ((image, facts),) = metadata_tables.read_facts(path, ANY)
    assert image == "ISIC_0000001"
    assert resolve_label([make_claim("t.csv", facts.labels, ISIC9)]).label == (expected or "")


def test_isic_2020_version_1_has_benign_or_malignant_alone(tmp_path):
    path = table(
        tmp_path / "t.csv", "image_name,patient_id,diagnosis,benign_malignant,target", "ISIC_0000001,P,unknown,benign,0"
    )
    ((_, facts),) = metadata_tables.read_facts(path, ANY)
    assert facts.patient_id == "P"
    assert taxonomy.built_in_set("malignant").classes_of(facts.labels) == ("benign",)


def test_a_table_of_the_users_own(tmp_path):
    path = table(tmp_path / "t.csv", "file,finding,lesion,who,dx", "my photo.v2.jpg,mel,17,anna,nv", "x.png,,,,")
    columns = Columns(id="file", label="finding", lesion="lesion", patient="who")
    require(path, columns)
    (image, facts), _ = metadata_tables.read_facts(path, columns)
    assert image == "my photo.v2"
    assert (facts.labels, facts.lesion_id, facts.patient_id) == (("mel",), "17", "anna")
    with pytest.raises(UsageError, match="needs a column nothing"):
        require(path, Columns(id="nothing"))


def test_ids_are_the_same_however_their_letters_are_composed(tmp_path):
    apart, one = "lesio\u0301n", "lesi\u00f3n"
    path = table(tmp_path / "t.csv", "image_id,lesion_id,patient_id", f"{apart}.jpg,{apart},{apart}")
    ((image, facts),) = metadata_tables.read_facts(path, ANY)
    assert (image, facts.lesion_id, facts.patient_id) == (one, one, one)
    splits = table(tmp_path / "s.csv", "image_id,split", f"{apart}.jpg,test")
    assert list(read_splits(splits, ANY)) == [(one, "test")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no rows"),
        ("isic_id,lesion_id\n", "holds no rows"),
        ("name,lesion_id\na,b\n", "needs a column isic_id or image_id"),
        ("isic_id,lesion\na,b\n", "no lesion_id, label or licence column; it has isic_id, lesion"),
        (b"\xff\xfe\x00bad", "not a UTF-8 CSV"),
        ("isic_id,dx,dx\na,nv,mel\n", "two columns are named 'dx'"),
        ('isic_id,dx\na,nv\nb,"nv\nc,mel\n', r"line 3: a quote is not closed"),
        ('isic_id,dx\na,nv\nb,"nv', "line 3: a quote is not closed"),
        ('isic_id,dx\na,"nv\nb,mel\nc,"nv\n', "line 2: a quote is not closed"),
        ('isic_id,dx\na,"nv\n' + "b,mel\n" * 30_000, "line 2: field larger than field limit"),
    ],
)
def test_metadata_without_what_is_needed_is_refused(tmp_path, content, says):
    path = tmp_path / "metadata.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=says):
        require(str(path))
    with pytest.raises(UsageError, match="cannot be read"):
        require(str(tmp_path / "missing.csv"))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_quoted_value_may_hold_line_breaks_and_quotes_may_be_loose(tmp_path, end):
    path = tmp_path / "t.csv"
    lines = ["isic_id,attribution,dx,,", 'ISIC_0000001,"Anna', 'and ""Bert""",mel,,', 'ISIC_0000002,"C." D.,nv,,', ""]
    path.write_bytes(end.join(lines).encode())
    require(str(path))
    assert [
        (image, facts.attribution, facts.labels) for image, facts in metadata_tables.read_facts(str(path), ANY)
    ] == [
        ("ISIC_0000001", f'Anna{end}and "Bert"', ("mel",)),
        ("ISIC_0000002", "C. D.", ("nv",)),
    ]


def test_real_tables(shared_data):
    """Every table at hand is recognised; what stays without a class is known."""
    tables = [*shared_data.glob("tables/*.csv"), *shared_data.glob("tables/isic_cli_layouts/*.csv")]
    tables += [shared_data / name for name in ("ham10000/images/metadata.csv", "isic_cli_download/metadata.csv")]
    assert len(tables) > 10
    unmapped: Counter = Counter()
    for path in tables:
        require(str(path))
        for _, facts in metadata_tables.read_facts(str(path), ANY):
            if facts.labels and not classes("isic9", *facts.labels):
                unmapped[facts.labels[0]] += 1
    assert set(unmapped) == {"unknown", "Scar", "Benign"}
    facts = dict(metadata_tables.read_facts(str(shared_data / "tables/HAM10000_metadata.csv"), ANY))
    assert len(facts) == 10015
    counts = Counter(classes("ham7", *fact.labels)[0] for fact in facts.values())
    assert counts == {"nv": 6705, "mel": 1113, "bkl": 1099, "bcc": 514, "akiec": 327, "vasc": 142, "df": 115}
    challenge = dict(
        metadata_tables.read_facts(str(shared_data / "tables/ISIC2018_Task3_Training_GroundTruth.csv"), ANY)
    )
    assert all(
        classes("ham7", *challenge[image].labels) == classes("ham7", *fact.labels)
        for image, fact in facts.items()
        if image in challenge
    )


def test_licences():
    def reason(*names):
        return reject_license(ImageRow("/a", "a", licenses=names), ["CC-0", "cc by"]).reason

    assert [reason("CC-0"), reason("CC BY"), reason("CC-BY-NC"), reason(), reason("CC-0", "CC-BY-NC")] == [
        "",
        "",
        "license",
        "license",
        "license",
    ]


@pytest.mark.parametrize("value", ["", " ", ",,"])
def test_no_licence_is_not_all_licences(value):
    with pytest.raises(UsageError, match=r"--licenses .*: names no licence; leave the option out"):
        parse_options(["--input", "in", "--output", "out", "--licenses", value])
    options, _ = parse_options(["--input", "in", "--output", "out", "--licenses", " CC-0,,cc by"])
    assert options.licenses == ("CC-0", "cc by")
