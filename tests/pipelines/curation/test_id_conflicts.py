"""Files that share an id and do not look alike are told apart: the photograph stays, whatever its path."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from PIL import Image, ImageOps

from pipelines.beam.partition import partition
from pipelines.curation.check import examine
from pipelines.curation.companions import FindMasks
from pipelines.curation.corrections import Correction, corrected
from pipelines.curation.deduplicate import DeduplicateImages
from pipelines.curation.groups import AssignGroups, FindNear, load_thumbnails
from pipelines.dataset.image_row import ImageRow, Thumbnail, is_open
from pipelines.domain.image_ids import image_id_of
from pipelines.domain.labels import Claim
from pipelines.imaging import perceptual
from pipelines.storage.packs import PackWriter
from tests.support.collecting import run


def picture(seed: int, side: int = 96) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def mask(seed: int) -> Image.Image:
    return picture(seed).convert("L").point(lambda value: 255 * (value > 128))


def checked(relative: str, image: Image.Image, corrections: Mapping[str, Correction] | None = None) -> ImageRow:
    kind = relative.rpartition(".")[2].upper().replace("JPG", "JPEG")
    data = encoded(image, kind)
    claims = (Claim("folder", ("nevus",), ("nevus",)),)
    row = ImageRow(f"/a/{relative}", relative, image_id=image_id_of(relative), sha256=f"{hash(data):x}", claims=claims)
    found = examine(corrected(row, corrections or {}), data)
    return found.row._replace(sketch=perceptual.sketch(found.thumbnail) if found.thumbnail else b"")


class _Identified(beam.PTransform):
    """Checked rows -> the same rows, judged by their ids and pictures."""

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        rejected, readable = rows | partition(is_open)
        return ((rejected, readable) | FindMasks(), readable | DeduplicateImages()) | beam.Flatten()


def identified(*rows: ImageRow) -> dict[str, ImageRow]:
    """Return each file, by its path."""
    found = [{row.relative: row for row in run(order, _Identified())} for order in (rows, rows[::-1])]
    assert found[0] == found[1]
    assert found[0].keys() == {row.relative for row in rows}
    return {row.relative: found[0][row.relative] for row in rows}


def reasons(*rows: ImageRow) -> dict[str, str]:
    """Return the outcome of each file, by its path; empty if it is kept."""
    return {name: row.reason for name, row in identified(*rows).items()}


def test_a_photograph_is_kept_beside_masks_of_every_kind_with_a_shorter_path() -> None:
    photograph = checked("images/of/ISIC_0000001.jpg", picture(1))
    soft = mask(2).resize((90, 90), Image.Resampling.BICUBIC)
    red = Image.composite(Image.new("RGB", (96, 96), (128, 0, 0)), Image.new("RGB", (96, 96)), mask(4))
    masks = [
        checked("m/ISIC_0000001.png", mask(2)),
        checked("n/ISIC_0000001.jpg", soft),
        checked("p/ISIC_0000001.png", red),
        checked("ISIC_0000001_superpixels.png", picture(5)),
        checked("ISIC_0000001_Segmentation.png", soft),
        checked("ISIC_0000001_attribute_pigment_network.png", Image.new("L", (96, 96))),
        checked("masks/ISIC_0000001.jpg", picture(6)),
        checked("ISIC-2017_Training_Part1_GroundTruth/ISIC_0000001.png", picture(7)),
        checked("ISIC_0000001_heatmap.jpg", picture(8)),
        checked("Annotations/ISIC_0000001.png", picture(9)),
    ]
    assert reasons(photograph, *masks) == {photograph.relative: "", **{row.relative: "mask" for row in masks}}


BLACK, WHITE = (Image.new("RGB", (9, 9), name) for name in ("black", "white"))


@pytest.mark.parametrize(
    ("relative", "image", "reason"),
    [
        ("masks/1.png", mask(1), "mask"),
        ("masks/1.png", BLACK, "mask"),
        ("masks/1.jpg", mask(1), "mask"),
        ("lesion-1_mask2.png", picture(1), "mask"),
        ("IMD003_Dermoscopic_Image/IMD003.bmp", BLACK, "blank"),
        ("nevus_lesion/IMD003_lesion.png", mask(1), "no_photograph"),
        ("1.png", mask(1), "no_photograph"),
        ("ISIC_0000001.jpg", BLACK, "blank"),
        ("1.png", WHITE, "blank"),
        ("images/1.png", picture(1).convert("L"), ""),
        ("segmentation/images/1.jpg", picture(1).convert("L"), ""),
        ("Segmentation/1.jpg", picture(1), ""),
        ("unmasked/masked.jpg", picture(1), ""),
        ("1.png", Image.new("RGB", (9, 9), (90, 80, 60)), ""),
        ("truth/1.png", mask(1).resize((90, 90), Image.Resampling.BICUBIC), "no_photograph"),
        ("1.jpg", mask(1), "no_photograph"),
        ("1.jpg", picture(1).convert("L").point(lambda level: level // 2), ""),
        ("1.jpg", ImageOps.autocontrast(picture(1).convert("L"), 20), ""),
    ],
)
def test_a_mask_without_its_photograph_is_known_by_name_or_folder(
    relative: str, image: Image.Image, reason: str
) -> None:
    assert checked(relative, image).reason == reason


def test_a_picture_that_is_no_photograph_is_a_mask_beside_the_photograph_of_its_id() -> None:
    photographs = [checked(f"images/{name}.jpg", picture(n)) for n, name in enumerate(("ISIC_0000001", "a", "b"))]
    masks = [
        checked("x/ISIC_0000001.png", BLACK),
        checked("truth/a.png", mask(1)),
        checked("truth/a.gif", mask(2)),
        checked("a/a_lesion.bmp", mask(4)),
        checked("a/a_R1_Label3.bmp", mask(5)),
        checked("roi/a.png", mask(7).resize((90, 90), Image.Resampling.BICUBIC)),
        checked("labels/b.jpg", mask(8)),
    ]
    # Without its photograph it may be a frame that failed, as with a plain name that frames of other folders have.
    others = [checked("x/ISIC_0000002.png", mask(1)), checked("x/b.png", BLACK), checked("x/c.png", mask(3))]
    others += [checked("x/a_lesion.png", BLACK), checked("x/ab_lesion.png", mask(6))]
    found = identified(*photographs, *masks, *others)
    assert {name: row.reason for name, row in found.items() if row.reason} == {
        **{row.relative: "mask" for row in masks},
        **{row.relative: row.reason for row in others},
    }
    assert {row.reason for row in others} == {"blank", "no_photograph"}
    assert found["truth/a.png"].image_of == "/a/images/a.jpg"
    assert found["truth/a.png"].message == (
        "a mask, no photograph: it is of two colours, and it has the id of images/a.jpg"
    )


def test_different_pictures_under_one_id_are_all_rejected() -> None:
    first, again = checked("a/ISIC_0000001.jpg", picture(1)), checked("b/ISIC_0000001.jpg", picture(1, 60))
    other, alone = checked("c/ISIC_0000001 (2).jpg", picture(2)), checked("c/ISIC_0000002.jpg", picture(3))
    assert reasons(first, again, alone) == {first.relative: "", again.relative: "same_image", alone.relative: ""}
    conflict = dict.fromkeys((first.relative, again.relative, other.relative), "id_conflict")
    assert reasons(first, again, other, alone) == {**conflict, alone.relative: ""}


KEEP, DROP, NEVUS = Correction("keep"), Correction("drop"), Correction("relabel", "nevus")


@pytest.mark.parametrize(
    ("corrections", "expected"),
    [
        ({"b/ISIC_0000001.jpg": DROP}, ("", "same_image", "corrected")),
        ({"/a/a/ISIC_0000001.jpg": DROP}, ("corrected", "corrected", "")),
        ({"a/ISIC_0000001.jpg": KEEP}, ("", "same_image", "corrected")),
        ({"ISIC_0000001 (2).jpg": NEVUS}, ("", "same_image", "corrected")),
        ({"b/ISIC_0000001.jpg": NEVUS}, ("corrected", "corrected", "")),
        ({"ISIC_0000001": KEEP, "b/ISIC_0000001.jpg": DROP}, ("", "same_image", "corrected")),
        ({"ISIC_0000001": DROP}, ("corrected",) * 3),
        ({"ISIC_0000001": KEEP}, ("id_conflict",) * 3),
        ({"a/ISIC_0000001.jpg": KEEP, "b/ISIC_0000001.jpg": KEEP}, ("id_conflict",) * 3),
    ],
)
def test_a_correction_of_one_file_says_which_picture_an_id_stands_for(
    corrections: Mapping[str, Correction], expected: tuple[str, ...]
) -> None:
    files = [
        checked("a/ISIC_0000001.jpg", picture(1), corrections=corrections),
        checked("a/ISIC_0000001 (2).jpg", picture(1, 60), corrections=corrections),
        checked("b/ISIC_0000001.jpg", picture(2), corrections=corrections),
    ]
    assert reasons(*files) == dict(zip((row.relative for row in files), expected, strict=True))


def test_of_three_pictures_under_one_id_two_are_left_in_conflict_by_a_drop() -> None:
    corrections = {"b/ISIC_0000001.jpg": DROP}
    files = [checked(f"{name}/ISIC_0000001.jpg", picture(ord(name)), corrections=corrections) for name in "abc"]
    assert list(reasons(*files).values()) == ["id_conflict", "corrected", "id_conflict"]


def test_what_a_person_keeps_by_its_path_is_a_photograph() -> None:
    """As the only picture, or instead of the one that seemed to be the photograph; but not by an id that both have."""
    files = {"1_mask.png": picture(1), "masks/2.png": picture(2).convert("L"), "3.png": mask(3), "4.png": BLACK}
    assert "" not in reasons(*(checked(name, image) for name, image in files.items())).values()
    for corrections in (dict.fromkeys(files, KEEP), dict.fromkeys((f"/a/{name}" for name in files), NEVUS)):
        kept = reasons(*(checked(name, image, corrections) for name, image in files.items()))
        assert kept == dict.fromkeys(files, "")
    both = {"ISIC_0000001.jpg": picture(5), "masks/ISIC_0000001.png": picture(6).convert("L")}
    for corrected_name, expected in (("masks/ISIC_0000001.png", ["corrected", ""]), ("ISIC_0000001", ["", "mask"])):
        rows = [checked(name, image, corrections={corrected_name: KEEP}) for name, image in both.items()]
        assert list(reasons(*rows).values()) == expected


def test_one_mask_of_two_photographs_does_not_join_them() -> None:
    soft = mask(1).resize((90, 90), Image.Resampling.BICUBIC)
    photographs = [checked(f"images/ISIC_000000{n}.jpg", picture(n + 5)) for n in (1, 2)]
    masks = [checked(f"m/ISIC_000000{n}.jpg", soft) for n in (1, 2)]
    found = reasons(*photographs, *masks)
    assert found == {row.relative: ("mask" if row in masks else "") for row in (*photographs, *masks)}


class _Grouped(beam.PTransform):
    """Checked rows -> the open images with their groups."""

    def __init__(self, packs: str):
        super().__init__()
        self._packs = packs

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        resolved = rows | DeduplicateImages()
        near = resolved | FindNear(functools.partial(load_thumbnails, self._packs))
        return (near.rows | beam.Filter(is_open), near.pairs, resolved) | AssignGroups()


@pytest.mark.parametrize("folders", ["ab", "ba"])
def test_every_picture_of_an_id_conflict_links_others(tmp_path: Path, folders: str) -> None:
    # One picture of the conflict is a near-duplicate of an image, and shows the lesion of another.
    first, second = (checked(f"{folder}/ISIC_0000001.jpg", picture(n)) for n, folder in enumerate(folders))
    near = checked("c/ISIC_0000007.jpg", picture(1, 80))
    lesion, alone = checked("c/ISIC_0000008.jpg", picture(2)), checked("c/ISIC_0000009.jpg", picture(3))
    second, lesion = (row._replace(lesion_ids=("HAM_0000001",)) for row in (second, lesion))
    pack: PackWriter[ImageRow] = PackWriter(str(tmp_path))
    for row, seed in ((first, 0), (second, 1), (near, 1), (lesion, 2), (alone, 3)):
        pack.add(row, 0, [perceptual.signature(perceptual.square_of(picture(seed)))[1]])
    rows = [one.item._replace(thumbnail=Thumbnail(one.pack, one.pieces[0])) for one in pack.flush()]
    groups = {row.relative: row.group_id for row in run(rows, _Grouped(str(tmp_path)))}
    assert groups.keys() == {row.relative for row in (near, lesion, alone)}
    assert groups[near.relative] == groups[lesion.relative] != groups[alone.relative]
