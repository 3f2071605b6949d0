"""Corrections: what a table of them may say, what each does to its image, and which are refused."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from pipelines.common.cli import UsageError
from pipelines.curation.command_line import with_found_tables
from pipelines.curation.corrections import Correction, CorrectionsFile, names_of, read_corrections, require_corrections
from pipelines.curation.curate import curate_images
from pipelines.curation.deduplicate import merge_files
from pipelines.curation.options import CurationOptions
from pipelines.dataset.image_row import ImageRow
from pipelines.dataset.manifest import manifest_row
from pipelines.domain.labels import Claim
from pipelines.domain.taxonomy import built_in_set
from pipelines.sources.inputs import read_inputs
from tests.support.collecting import run_source
from tests.support.image_files import encode, photograph
from tests.support.source_files import write

NEEDS = "needs the columns image (an image id, or a path) and action"
CLASSES = built_in_set("isic9")


def test_a_table_names_images_by_id_or_path_and_classes_by_any_of_their_terms(tmp_path: Path) -> None:
    text = (
        "\ufeffimage,action,label,finding\n"
        "isic_0000001,Keep,,near_duplicates\n"
        '"a/nevus/x, y.jpg",drop,,\n'
        "a/ISIC_0000002_segmentation.png,drop,,mask\n"
        "lesion 7,relabel,NV,\n"
        "lesion 7,relabel,nevus,conflict\n"
    )
    path = write(tmp_path / "c.csv", text)
    assert read_corrections(path, CLASSES) == {
        "ISIC_0000001": Correction("keep", "", "near_duplicates"),
        "a/nevus/x, y.jpg": Correction("drop"),
        "a/ISIC_0000002_segmentation.png": Correction("drop", "", "mask"),
        "lesion 7": Correction("relabel", "nevus"),
    }
    assert require_corrections(path, CLASSES).read_as() == f"corrected by {path}: keep 1, drop 2, relabel 1"


def test_a_path_outranks_an_id_that_several_files_may_share(tmp_path: Path) -> None:
    """As in rows of a manifest to which an action was added."""
    text = "path,image_id,action\na/ISIC_0000001.jpg,ISIC_0000001,keep\n,ISIC_0000002,drop\n"
    assert read_corrections(write(tmp_path / "c.csv", text), CLASSES) == {
        "a/ISIC_0000001.jpg": Correction("keep"),
        "ISIC_0000002": Correction("drop"),
    }


def test_the_digest_is_of_what_a_table_says(tmp_path: Path) -> None:
    texts = (
        "image,action,label\na,drop,\nb,relabel,nevus\n",
        "label,finding,action,image\nnv,conflict,relabel,b\n,,drop,a\n",
        "Image;Action; Label\na;drop;\nb;relabel;nevus\n",
        "image,action,label\na,drop,\nb,relabel,melanoma\n",
    )
    digests = [require_corrections(write(tmp_path / f"{n}.csv", text), CLASSES).digest for n, text in enumerate(texts)]
    assert digests[0] == digests[1] == digests[2] != digests[3]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            "picture,action\na,drop\n",
            "needs the columns image (an image id, or a path) and action; it has picture, action",
        ),
        ("image,what\na,drop\n", "needs the columns image (an image id, or a path) and action; it has image, what"),
        ("image,action\na,delete\n", "a has the action 'delete'; keep, drop, relabel are known"),
        ("image,action\n,drop\n", "a row with the action 'drop' names no image"),
        ("image,action,label\na,keep,nevus\n", "a has the action keep and a label, 'nevus'; only relabel takes one"),
        (
            "image,action,label\na,relabel,\n",
            f"a is relabelled as '', which is not one class of {', '.join(CLASSES.classes)} (--classes)",
        ),
        (
            "image,action,label\nISIC_0000001,drop,\nisic_0000001,relabel,nv\n",
            "ISIC_0000001 is named twice, to drop and to relabel as 'nevus'",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, content: str, says: str) -> None:
    path = write(tmp_path / "c.csv", content)
    with pytest.raises(UsageError) as refused:
        require_corrections(path, CLASSES)
    assert str(refused.value) == f"--corrections {path}: {says}"


def test_a_file_is_called_by_path_or_below_its_input_or_by_id() -> None:
    row = ImageRow("gs://b/in/x/isic_0000001 (1).jpg", "x/isic_0000001 (1).jpg", image_id="ISIC_0000001")
    assert names_of(row) == [
        "gs://b/in/x/isic_0000001 (1).jpg",
        "x/isic_0000001 (1).jpg",
        "isic_0000001 (1).jpg",
        "ISIC_0000001",
    ]
    assert names_of(ImageRow("lost\udcff.jpg", "lost\udcff.jpg")) == [r"lost\xff.jpg"]


def test_a_correction_of_one_file_is_one_of_its_image() -> None:
    def files(**first: Any) -> list[ImageRow]:
        claims = [(Claim("folder", (name,), (name,)),) for name in ("melanoma", "nevus")]
        rows = [ImageRow(f"/{n}.jpg", f"{n}.jpg", sha256="1", claims=claims[n]) for n in (0, 1)]
        return [rows[0]._replace(**first), rows[1]]

    def seen(**first: Any) -> list[tuple]:
        rows = map(manifest_row, merge_files(files(**first)))
        return [(row["reason"], row["label"], row["old_label"], row["correction"]) for row in rows]

    assert seen() == [("label_conflict", None, None, None)] * 2
    assert seen(correction="drop") == [("corrected", None, "melanoma; nevus", "drop")] * 2
    assert seen(correction="relabel", label="wart") == [
        ("corrected", "wart", "melanoma; nevus", "relabel"),
        ("duplicate", "wart", "melanoma; nevus", "relabel"),
    ]


class _Decide(beam.PTransform):
    def __init__(self, options: CurationOptions, packs: str):
        super().__init__()
        self._options = options
        self._packs = packs

    def expand(self, begin: beam.PCollection) -> beam.PCollection:
        decided = curate_images(begin.pipeline, self._options, threads=2, packs=self._packs)
        return (decided.images, decided.dropped, decided.problem) | beam.Flatten()


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> CurationOptions:
    """Six images of each of two classes, one in both, one in neither, one damaged; masks, two pictures of one id."""
    root = tmp_path_factory.mktemp("corrections")
    pictures = {f"{'melanoma' if n < 6 else 'nevus'}/ISIC_00000{n:02d}.jpg": n for n in range(12)}
    pictures |= {"melanoma/both.jpg": 20, "nevus/both (2).jpg": 20, "elsewhere/none.jpg": 21}
    pictures |= {"a/nevus/one.jpg": 22, "b/nevus/one.jpg": 23}
    for name, seed in pictures.items():
        path = root / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(photograph(64 + seed, 48, seed)))
    for name in ("ISIC_0000011_mask.png", "ISIC_0000030_mask.png"):
        (root / "set/nevus" / name).write_bytes(encode(photograph(64, 48), "PNG"))
    (root / "set/melanoma/ISIC_0000031.jpg").write_bytes(encode(photograph(64, 48, 31)))
    (root / "set/nevus/ISIC_0000031.jpg").write_bytes(encode(255 - photograph(64, 48, 31)[::-1]))
    (root / "set/nevus/damaged.jpg").write_bytes(encode(photograph(64, 48))[:1200])
    inputs = read_inputs([str(root / "set")], [])
    return CurationOptions(sources=inputs.sources, output=str(root / "out"))


def _decide(options: CurationOptions, path: str) -> tuple[dict[str, ImageRow], str]:
    given = dataclasses.replace(options, corrections=CorrectionsFile(path))
    with tempfile.TemporaryDirectory() as packs:
        found = run_source(_Decide(with_found_tables(given), packs))
    (problem,) = (one for one in found if isinstance(one, str))
    return {one.relative: one for one in found if isinstance(one, ImageRow)}, problem


def test_images_are_kept_dropped_and_relabelled(options: CurationOptions, tmp_path: Path) -> None:
    rows = [
        "ISIC_0000000,keep,",
        "ISIC_0000001,drop,",
        "ISIC_0000002,relabel,dermatofibroma",
        "melanoma/both.jpg,relabel,melanoma",
        f"{options.sources[0].path}/elsewhere/none.jpg,relabel,nevus",
        "b/nevus/one.jpg,drop,",
        "damaged,drop,",
        "ISIC_0000030_mask.png,relabel,nevus",
        "nevus/ISIC_0000031.jpg,keep,",
    ]
    found, problem = _decide(options, write(tmp_path / "c.csv", "\n".join(["image,action,label", *rows]) + "\n"))
    assert "--corrections" not in problem
    assert {
        name: (row.reason, row.correction, row.label, row.old_label) for name, row in found.items() if row.correction
    } == {
        "melanoma/ISIC_0000000.jpg": ("", "keep", "melanoma", ""),
        "melanoma/ISIC_0000001.jpg": ("corrected", "drop", "", "melanoma"),
        "melanoma/ISIC_0000002.jpg": ("", "relabel", "dermatofibroma", "melanoma"),
        "melanoma/both.jpg": ("", "relabel", "melanoma", "melanoma; nevus"),
        "nevus/both (2).jpg": ("duplicate", "relabel", "melanoma", "melanoma; nevus"),
        "elsewhere/none.jpg": ("", "relabel", "nevus", ""),
        "b/nevus/one.jpg": ("corrected", "drop", "", "nevus"),
        "nevus/damaged.jpg": ("undecodable", "drop", "", ""),
        "nevus/ISIC_0000030_mask.png": ("", "relabel", "nevus", "nevus"),
        "nevus/ISIC_0000031.jpg": ("", "keep", "nevus", ""),
    }
    assert found["a/nevus/one.jpg"].reason == ""
    assert found["nevus/ISIC_0000011_mask.png"].reason == "mask"
    other = found["melanoma/ISIC_0000031.jpg"]
    assert (other.stage, other.reason) == ("correct", "corrected")
    assert other.message == "another picture than nevus/ISIC_0000031.jpg, which --corrections takes for their id"


def test_corrections_that_cannot_be_made_are_named(options: CurationOptions, tmp_path: Path) -> None:
    """Unknown names; a name of two images; two corrections of one image; an image kept that has no class."""
    root = options.sources[0].path
    cases = {
        "ISIC_0000777,drop,\nISIC_0000778,drop,": "no listed image is ISIC_0000777 and 1 more; ids and paths are "
        "those of manifest-*.parquet",
        "one,drop,": f"one names 2 images, {root}/a/nevus/one.jpg and {root}/b/nevus/one.jpg; name each by its path",
        "melanoma/both.jpg,drop,\nnevus/both (2).jpg,relabel,nevus": "melanoma/both.jpg and nevus/both (2).jpg are one "
        "image, to drop and to relabel as 'nevus'; leave one out",
        "elsewhere/none.jpg,keep,": "elsewhere/none.jpg: nothing to keep (no class for 'elsewhere' (folder): "
        "elsewhere/none.jpg); relabel or drop it, or leave it out",
        "ISIC_0000030,relabel,nevus": "ISIC_0000030: nothing to relabel (a mask: its name says so); name one file "
        "alone, by its path, or leave it out",
        "ISIC_0000031,keep,": "ISIC_0000031: nothing to keep (different pictures have one id: "
        "melanoma/ISIC_0000031.jpg, nevus/ISIC_0000031.jpg); name one file alone, by its path, or leave it out",
        "ISIC_0000031.jpg,keep,": f"ISIC_0000031.jpg names 2 images, {root}/melanoma/ISIC_0000031.jpg and "
        f"{root}/nevus/ISIC_0000031.jpg; name each by its path",
    }
    for number, (rows, says) in enumerate(cases.items()):
        path = write(tmp_path / f"{number}.csv", f"image,action,label\n{rows}\n")
        assert _decide(options, path)[1] == f"--corrections {path}: {says}"
