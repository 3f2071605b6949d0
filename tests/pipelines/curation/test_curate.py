"""From files to decisions: what a rejected image links belongs together all the same."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from PIL import Image

from pipelines.audit.leakage import FindLeakage
from pipelines.curation.command_line import with_found_tables
from pipelines.curation.curate import curate_images, reject_license
from pipelines.curation.fractions import Fractions
from pipelines.curation.options import CurationOptions
from pipelines.dataset.image_row import ImageRow
from pipelines.domain.taxonomy import named_set
from pipelines.sources.inputs import read_inputs
from tests.support.collecting import run_source
from tests.support.image_files import encode, photograph


def picture(seed: int, side: int = 64) -> bytes:
    """A smooth random picture: unlike others, and like itself at another size."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(data, "JPEG", quality=90)
    return data.getvalue()


def save(root: Path, name: str, data: bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def table(path: Path, rows: list[dict[str, str]]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, sorted({name for row in rows for name in row}))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


class _Decide(beam.PTransform):
    """Every row with its decision, and every leak."""

    def __init__(self, options: Any, packs: str):
        super().__init__()
        self._options = options
        self._packs = packs

    def expand(self, begin: beam.PCollection) -> beam.PCollection:
        decided = curate_images(begin.pipeline, self._options, threads=2, packs=self._packs)
        leaks = (decided.readable, decided.near.pairs) | FindLeakage()
        return (decided.images, decided.dropped, leaks) | beam.Flatten()


def decide(root: Path | tuple[Path, ...], *tables: str, **options: Any) -> tuple[Any, ...]:
    inputs = read_inputs(list(map(str, root if isinstance(root, tuple) else (root,))), list(tables))
    chosen = CurationOptions(
        sources=inputs.sources,
        output="",
        metadata=inputs.metadata,
        class_set=named_set(["melanoma", "nevus"]),
        split_fractions=Fractions(0.8, 0.1, 0.1),
        small_classes="reject",
        **options,
    )
    with tempfile.TemporaryDirectory() as packs:
        found = run_source(_Decide(with_found_tables(chosen), packs))
    return (
        {one.relative if isinstance(root, Path) else one.path: one for one in found if hasattr(one, "relative")},
        [one for one in found if not hasattr(one, "relative")],
    )


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Twelve lesions of each class, one photograph each."""
    root = tmp_path / "set"
    for number in range(24):
        save(root, f"{'melanoma' if number < 12 else 'nevus'}/ISIC_00000{number:02d}.jpg", picture(number))
    return root


def test_an_excluded_image_is_rejected_but_still_links_its_lesion(archive: Path, tmp_path: Path) -> None:
    """A white photograph, of which the tables say that it shows the lesions of two others."""
    save(archive, "nevus/ISIC_0000099.jpg", encode(250 + photograph(120, 90) // 50))
    rows = [{"isic_id": f"ISIC_00000{n:02d}", "lesion_id": ""} for n in (*range(24), 99)]
    rows[20]["lesion_id"] = rows[-1]["lesion_id"] = "L"
    tables = [table(tmp_path / "t.csv", rows), table(tmp_path / "u.csv", [{**row, "lesion_id": ""} for row in rows])]
    found, _ = decide(archive, *tables, exclude=("light",))
    white = found.pop("nevus/ISIC_0000099.jpg")
    assert (white.outcome, white.stage, white.reason, white.label) == ("rejected", "quality", "light", "nevus")
    assert {one.reason for one in found.values()} == {""}
    assert all(len(one.quality) == len(white.quality) > 0 for one in found.values())
    without, _ = decide(archive, *tables)
    assert {(one.reason, one.quality) for one in without.values()} == {("", ())}


def test_the_labels_of_a_list_are_of_its_files_not_of_their_names(tmp_path: Path) -> None:
    """Two folders count their photographs from 0; ISIC ids mean one image wherever it lies."""
    rows = []
    for n in range(24):
        clinic, label = ("here", "there")[n % 2], ("melanoma", "nevus")[n % 2]
        save(tmp_path, f"{clinic}/{n // 2}.jpg", picture(n))
        rows.append({"path": f"{clinic}/{n // 2}.jpg", "label": label, "lesion_id": f"L{n}"})
    save(tmp_path, "here/ISIC_0000001.jpg", picture(50))
    save(tmp_path, "also/ISIC_0000001_downsampled.jpg", picture(50, 48))
    rows += [{"path": "here/ISIC_0000001.jpg", "label": "melanoma"}, {"path": "also/ISIC_0000001_downsampled.jpg"}]
    rows.append({"path": "here/0.jpg", "label": "nevus"})
    found, _ = decide((Path(table(tmp_path / "list.csv", rows)),))
    said = {path.removeprefix(f"{tmp_path}/"): one for path, one in found.items()}
    assert said["here/0.jpg"].reason == "label_conflict"
    kept = [(path.partition("/")[0], one.label) for path, one in said.items() if not one.reason]
    assert (len(kept), set(kept)) == (24, {("here", "melanoma"), ("there", "nevus")})
    assert (said["here/3.jpg"].lesion_ids, said["there/3.jpg"].lesion_ids) == (("L6",), ("L7",))
    small, large = (
        [claim for claim in said[path].claims if claim.source == "list.csv"]
        for path in ("also/ISIC_0000001_downsampled.jpg", "here/ISIC_0000001.jpg")
    )
    assert small == large != []


def test_a_licence_is_judged_by_all_that_is_said_of_an_image(archive: Path, tmp_path: Path) -> None:
    """One table calls it CC-BY-NC, another, under another id, CC-0; and its lesion is that of the second image."""
    same = (archive / "melanoma/ISIC_0000001.jpg").read_bytes()
    save(archive, "melanoma/ISIC_0000099.jpg", same)
    rows = [{"isic_id": f"ISIC_00000{n:02d}", "copyright_license": "CC-0", "lesion_id": ""} for n in (*range(24), 99)]
    rows[1] |= {"copyright_license": "CC-BY-NC", "lesion_id": "L"}
    rows[2] |= {"lesion_id": "L"}
    found, _ = decide(archive, table(tmp_path / "t.csv", rows), licenses=("CC-0",))
    assert {found[f"melanoma/ISIC_00000{n}.jpg"].reason for n in ("01", "99")} == {"license", "duplicate"}
    assert found["melanoma/ISIC_0000002.jpg"].reason == ""
    assert sum(one.reason == "" for one in found.values()) == 23


def test_a_rejected_image_links_what_it_belongs_to(archive: Path, tmp_path: Path) -> None:
    """Two tables know its lesion under two ids; it lies in two classes, which says nothing about that."""
    save(archive, "nevus/ISIC_0000001.jpg", (archive / "melanoma/ISIC_0000001.jpg").read_bytes())
    tables = [
        table(tmp_path / f"{name}.csv", [{"isic_id": "ISIC_0000001", "lesion_id": name}, other])
        for name, other in (
            ("here", {"isic_id": "ISIC_0000003", "lesion_id": "here"}),
            ("there", {"isic_id": "ISIC_0000004", "lesion_id": "there"}),
        )
    ]
    found, _ = decide(archive, *tables)
    assert found["melanoma/ISIC_0000001.jpg"].reason == "label_conflict"
    here, there = found["melanoma/ISIC_0000003.jpg"], found["melanoma/ISIC_0000004.jpg"]
    assert (here.group_id, here.split) == (there.group_id, there.split)


def test_two_sources_may_name_classes_in_full_and_count_their_lesions_from_one(tmp_path: Path) -> None:
    clinics = (tmp_path / "here", tmp_path / "there")
    for start, clinic in zip((0, 100), clinics, strict=True):
        rows = []
        for n in range(20):
            split, label = ("train_dir", "test_dir")[n % 5 == 0], ("Melanocytic nevi", "Melanomas (MEL)")[n % 2]
            save(clinic, f"{split}/{label}/{n}.jpg", picture(start + n))
            # The first two lesions have two photographs, one of them on each side.
            rows.append({"image_id": f"{n}", "lesion_id": str(n % 18 + 1)})
        table(clinic / "metadata.csv", rows)
    found, leaks = decide(clinics, split_from_folders=True)
    kept = [one for one in found.values() if not one.outcome]
    assert {one.label for one in kept} == {"nevus", "melanoma"}
    assert {one.given_split for one in kept} == {"train", "test"}
    lesions = {lesion for one in kept for lesion in one.lesion_ids}
    assert lesions == {f"{clinic} #{n}" for clinic in ("here", "there") for n in range(1, 19)}
    assert len({one.group_id for one in kept}) == len(lesions)
    assert {leak.because for leak in leaks} == {(f"lesion {clinic} #1",) for clinic in ("here", "there")}


def test_leaks_are_found_whatever_becomes_of_an_image(tmp_path: Path) -> None:
    """Smaller copies in Test: of a good image, of one filed under two classes, of one in a folder without a class."""
    root = tmp_path / "set"
    for number in range(24):
        save(root, f"Train/{'melanoma' if number < 12 else 'nevus'}/{number}.jpg", picture(number))
    save(root, "Test/melanoma/small.jpg", picture(0, 48))
    save(root, "Test/melanoma/both.jpg", picture(1, 48))
    save(root, "Test/nevus/both.jpg", picture(1, 48))
    save(root, "Test/elsewhere/none.jpg", picture(2, 48))
    found, leaks = decide(root)
    assert found["Test/elsewhere/none.jpg"].reason == "unmapped_label"
    assert found["Test/nevus/both.jpg"].reason == "label_conflict"
    assert sorted(len(leak.files) for leak in leaks) == [2, 2, 3]
    assert {leak.because for leak in leaks} == {("near-duplicate",)}


def test_only_images_whose_every_licence_is_allowed_are_taken() -> None:
    def reason(*names: str) -> str:
        return reject_license(ImageRow("/a", "a", licenses=names), ["CC-0", "cc by"]).reason

    assert [reason("CC-0"), reason("CC BY"), reason("CC-BY-NC"), reason(), reason("CC-0", "CC-BY-NC")] == [
        "",
        "",
        "license",
        "license",
        "license",
    ]
