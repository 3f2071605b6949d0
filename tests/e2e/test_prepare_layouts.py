"""Prepare on archives in every layout: what each image is taken for, and real downloads side by side."""

from __future__ import annotations

import csv
import itertools
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.commands import Command

CLASSES = ("melanoma", "nevus", "basal cell carcinoma")
HAM_TERMS = ("mel", "nv", "bcc")
COLUMNS_2018 = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
COLUMNS_2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
SIZE = 32


def noise(path: Path, *seed: int) -> None:
    """A picture like no other: flat colours would be near-duplicates of each other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(list(seed)).integers(0, 256, (6, 6, 3), np.uint8)
    picture = Image.fromarray(pixels).resize((48, 48), Image.Resampling.BICUBIC)
    picture.save(path, format="PNG" if path.suffix.lower() == ".png" else "JPEG", quality=90)


def table(path: Path, header: Sequence[str], rows: Iterable[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def one_hot(columns: Sequence[str], label: str) -> list[str]:
    return ["1.0" if name == columns[CLASSES.index(label)] else "0.0" for name in columns]


def zipped(folder: Path) -> str:
    """The folder as a .zip beside it; the folder itself goes."""
    shutil.make_archive(str(folder), "zip", folder)
    shutil.rmtree(folder)
    return f"{folder}.zip"


class Archive:
    """Makes sources below a folder, and keeps what each image should be taken for.

    expected: (source, file name) -> (image id, class, lesion id, licence); the same picture in no two files.
    """

    def __init__(self, root: Path):
        self.root = root
        self.expected: dict[tuple[str, str], tuple[str, str, str | None, str | None]] = {}
        self._numbers = itertools.count(1)

    def images(
        self,
        source: str,
        folder: Path,
        name: str = "ISIC_{0:07d}.jpg",
        per_class: int = 4,
        lesions: bool = True,
        license: str | None = None,
    ) -> Iterator[tuple[str, str, str | None]]:
        """Yields (id, class, lesion id) of new images; `name` may hold {0}, a number, and {1}, the class."""
        for label in CLASSES:
            for copy in range(per_class):
                number = next(self._numbers)
                path = folder / name.format(number, label)
                noise(path, number)
                lesion = f"{source}_{label[0]}{copy // 2}" if lesions else None
                image_id = f"ISIC_{number:07d}" if "ISIC" in path.name else path.stem
                self.expected[source, path.name] = (image_id, label, lesion, license)
                yield image_id, label, lesion


def make_archive(root: Path) -> tuple[Archive, Path]:
    """Every layout but ISIC 2020, and a file of sources that names them."""
    archive = Archive(root)
    make = archive.images
    for half, name in (("Train", "ISIC_{0:07d}(1).JPG"), ("Test", "naïve {0} (1).png")):
        list(make("kaggle", root / "skin cancer" / half, "{1}/" + name, per_class=2, lesions=False))

    cli = root / "gallery"
    header = ("isic_id", "attribution", "copyright_license", "diagnosis_1", "diagnosis_3", "lesion_id")

    def cli_lines(source: str, folder: Path) -> Iterator[tuple[str | None, ...]]:
        for image, label, lesion in make(source, folder, license="CC-BY"):
            yield image, "Anna", "CC-BY", "Benign" if label == "nevus" else "Malignant", label.capitalize(), lesion

    for folder, source in ((cli, "gallery"), (root / "packed", "packed")):
        table(folder / "metadata.csv", header, list(cli_lines(source, folder)))
        (folder / "attribution.txt").write_text("Anna")
        (folder / "licenses").mkdir()
        (folder / "licenses" / "CC-BY.txt").write_text("by")
    zipped(root / "packed")

    ham = root / "ham"
    lines = []
    for part in (1, 2):
        # A folder's name must not say what its images show where the table does.
        images = make(f"ham {part}", ham / f"HAM10000_images_part_{part}" / "melanoma", per_class=2)
        lines += [(lesion, image, HAM_TERMS[CLASSES.index(label)]) for image, label, lesion in images]
    table(ham / "HAM10000_metadata.csv", ("lesion_id", "image_id", "dx"), lines)

    folder = root / "ISIC2018_Input"
    found = list(make("2018", folder / "inner"))
    zipped(folder)
    table(
        root / "2018" / "truth.csv",
        ("image", *COLUMNS_2018),
        [(image, *one_hot(COLUMNS_2018, label)) for image, label, _ in found],
    )
    table(
        root / "2018" / "lesions.csv",
        ("image", "lesion_id", "diagnosis_confirm_type"),
        [(image, lesion, "histopathology") for image, _, lesion in found],
    )

    folder = root / "2019" / "ISIC_2019_Training_Input"
    found = list(make("2019", folder, "ISIC_{0:07d}_downsampled.jpg"))
    zipped(folder)
    rows: list[tuple[Any, ...]] = [(image + "_downsampled", *one_hot(COLUMNS_2019, label)) for image, label, _ in found]
    table(root / "2019" / "ISIC_2019_Training_GroundTruth.csv", ("image", *COLUMNS_2019), rows)
    rows = [(image + "_downsampled", 55, lesion) for image, _, lesion in found]
    table(root / "2019" / "ISIC_2019_Training_Metadata.csv", ("image", "age_approx", "lesion_id"), rows)

    found = list(make("mine", root / "mine", "my {0} ü.jpg"))
    rows = [(f"{image}.jpg", label.upper(), lesion, "anna") for image, label, lesion in found]
    table(root / "mine.csv", ("file", "finding", "wound", "who"), rows)

    for source, turn in (("left", 0), ("right", 1)):
        rows = []
        for number in (1, 2):
            noise(root / source / f"{number}.jpg", 1000 + number, turn)
            label = CLASSES[(number + turn) % 3]
            archive.expected[source, f"{number}.jpg"] = (str(number), label, None, None)
            rows.append((number, HAM_TERMS[CLASSES.index(label)]))
        table(root / source / "labels.csv", ("image_id", "dx"), rows)

    return archive, _write_sources(root)


def _write_sources(root: Path) -> Path:
    """The file of sources; its paths are relative, so the archive may lie anywhere."""
    path = root / "all sources.yaml"
    path.write_text(
        """\
sources:
  - {images: skin cancer, name: kaggle, layout: folders}
  - {images: gallery, name: gallery}
  - {images: packed.zip, name: packed, layout: isic_cli}
  - {images: ham/HAM10000_images_part_1, name: ham 1, layout: ham10000}
  - {images: "ham/HAM10000_images_part_2/*/*.jpg", name: ham 2, layout: ham10000, metadata: ham/HAM10000_metadata.csv}
  - images: ISIC2018_Input.zip
    name: "2018"
    layout: isic2018
    metadata: [2018/truth.csv, 2018/lesions.csv]
  - {images: 2019/ISIC_2019_Training_Input.zip, name: "2019", layout: isic2019}
  - images: mine
    name: mine
    layout: table
    metadata: mine.csv
    columns: {id: file, label: finding, lesion: wound, patient: who}
  - {images: left, name: left, layout: ham10000}
  - {images: right, name: right, layout: ham10000}
""",
        encoding="utf-8",
    )
    return path


def manifest(dataset: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(dataset.glob("manifest-*.parquet")) for row in pq.read_table(path).to_pylist()]


def describe(dataset: Path) -> dict[str, Any]:
    return json.loads((dataset / "dataset.json").read_text())


def check_sums(dataset: Path, rows: list[dict[str, Any]]) -> None:
    counts, outcomes = describe(dataset)["counts"], Counter(row["outcome"] for row in rows)
    assert (
        counts["listed"] - counts["ignored"]
        == len(rows)
        == counts["written"] + counts["duplicates"] + counts["rejected"]
    )
    assert (counts["written"], counts["duplicates"], counts["rejected"]) == tuple(
        outcomes[outcome] for outcome in ("written", "duplicate", "rejected")
    )


def check_lesions(rows: list[dict[str, Any]]) -> dict[str, set[str]]:
    splits = defaultdict(set)
    for row in rows:
        if row["outcome"] == "written":
            for lesion in (row["lesion_id"] or "").split("; "):
                splits[lesion].add(row["split"])
    splits.pop("")
    assert all(len(found) == 1 for found in splits.values())
    return splits


def taken_for(rows: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[Any, ...]]:
    return {
        (row["source"], Path(row["path"]).name): (row["id"], row["label"], row["lesion_id"], row["license"])
        for row in rows
    }


def test_every_layout_in_one_run_gives_the_expected_rows(command: Command, tmp_path: Path) -> None:
    archive, sources = make_archive(tmp_path / "data sets")
    output = tmp_path / "out"
    done = command(
        *("pipelines.prepare", "--input", sources, "--output", output, "--image_size", SIZE),
        *("--classes", ",".join(CLASSES), "--balance", "none"),
    )
    assert done.returncode == 0, done.stderr
    rows = manifest(output)
    assert taken_for(rows) == archive.expected
    assert {row["outcome"] for row in rows} == {"written"}
    check_sums(output, rows)
    assert len(check_lesions(rows)) > 20
    assert {row["patient_id"] for row in rows} == {None, "anna"}
    assert {row["attribution"] for row in rows if row["license"]} == {"Anna"}
    assert "mine as table" in done.stdout
    assert "2019_Training_Input.zip as ISIC 2019 table" in done.stdout
    read = json.loads((output / "prepare.json").read_text())["options"]["sources"]
    root = tmp_path / "data sets"
    assert {one["name"]: (one["layout"], one["tables"]) for one in read} == {
        "kaggle": ("folders", []),
        "gallery": ("class folders + ISIC archive table", [f"{root}/gallery/metadata.csv"]),
        "packed": ("isic_cli", [f"{root}/packed.zip!/metadata.csv"]),
        "ham 1": ("ham10000", [f"{root}/ham/HAM10000_metadata.csv"]),
        "ham 2": ("ham10000", [f"{root}/ham/HAM10000_metadata.csv"]),
        "2018": ("isic2018", [f"{root}/2018/truth.csv", f"{root}/2018/lesions.csv"]),
        "2019": (
            "isic2019",
            [f"{root}/2019/ISIC_2019_Training_{name}.csv" for name in ("GroundTruth", "Metadata")],
        ),
        "mine": ("table", [f"{root}/mine.csv"]),
        "left": ("ham10000", [f"{root}/left/labels.csv"]),
        "right": ("ham10000", [f"{root}/right/labels.csv"]),
    }


def test_isic_2020_in_both_versions_and_ones_own_columns_by_options(command: Command, tmp_path: Path) -> None:
    """Benign or malignant; `--input LAYOUT=PATH`, a list of paths, and a table with columns named by options."""
    archive = Archive(tmp_path)
    header = ("image_name", "patient_id", "lesion_id", "diagnosis", "benign_malignant", "target")
    for version, lesions in (("v1", False), ("v2", True)):
        truth = [
            (image, "P", lesion, "unknown", "benign" if label == "nevus" else "malignant", int(label != "nevus"))
            for image, label, lesion in archive.images(version, tmp_path / version / "train", lesions=lesions)
        ]
        kept = [n for n, name in enumerate(header) if lesions or name != "lesion_id"]
        table(tmp_path / version / "truth.csv", [header[n] for n in kept], [[row[n] for n in kept] for row in truth])
    found = list(archive.images("list.csv", tmp_path / "mine", lesions=False))
    findings = [(f"mine/{image}.jpg", "malignant" if label == "melanoma" else "benign") for image, label, _ in found]
    own = table(tmp_path / "list.csv", ("path", "finding"), findings)
    output = tmp_path / "out"
    done = command(
        *("pipelines.prepare", "--input", f"isic2020={tmp_path}/v1/train", "--input", f"isic2020={tmp_path}/v2/train"),
        *("--input", own, "--metadata", own, "--id_column", "path", "--label_column", "finding"),
        *("--output", output, "--image_size", SIZE, "--classes", "malignant", "--balance", "none"),
    )
    assert done.returncode == 0, done.stderr
    rows = manifest(output)
    check_sums(output, rows)
    assert {row["source"] for row in rows} == {f"{tmp_path}/v1/train", f"{tmp_path}/v2/train", str(own)}
    for row in rows:
        version = Path(row["source"]).parent.name if row["source"].endswith("train") else "list.csv"
        image, label, lesion, _ = archive.expected[version, Path(row["path"]).name]
        benign = ("nevus",) if version != "list.csv" else ("nevus", "basal cell carcinoma")
        assert (row["id"], row["label"], row["lesion_id"]) == (
            image,
            "benign" if label in benign else "malignant",
            lesion,
        )
    assert len(check_lesions(rows)) == 6


@pytest.mark.parametrize("name", ["unknown key", "layout without its table", "output"])
def test_a_wrong_file_of_sources_is_one_line_exit_2_and_nothing_written(
    command: Command, tmp_path: Path, name: str
) -> None:
    noise(tmp_path / "in" / "melanoma" / "a.png", 1)
    entry, output, says = {
        "unknown key": ({"images": "in", "labels": "x"}, "out", "sources.json: source 1: unknown key 'labels'"),
        "layout without its table": ({"images": "in", "layout": "isic2018"}, "out", "no ISIC 2018 table"),
        "output": ({"images": "in"}, "in", "in: is also an input"),
    }[name]
    (tmp_path / "sources.json").write_text(json.dumps({"sources": [entry]}))
    before = sorted(tmp_path.rglob("*"))
    done = command("pipelines.prepare", "--input", tmp_path / "sources.json", "--output", tmp_path / output)
    assert done.returncode == 2
    assert done.stderr.startswith("pipelines.prepare: error: --")
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.proof
def test_real_downloads_side_by_side(command: Command, shared_data: Path, tmp_path: Path) -> None:
    """Class folders, an isic-cli download with the HAM10000 table, another: one image in two is one example."""
    sources = tmp_path / "sources.yaml"
    sources.write_text(
        f"""\
sources:
  - {{images: {shared_data}/isic9/Train, name: kaggle}}
  - {{images: {shared_data}/ham10000/images, name: ham}}
  - {{images: {shared_data}/isic_cli_download, name: gallery}}
metadata: {shared_data}/ham10000/HAM10000_metadata.csv
"""
    )
    output = tmp_path / "out"
    done = command(
        *("pipelines.prepare", "--input", sources, "--output", output, "--image_size", SIZE),
        *("--small_classes", "reject", "--on_label_conflict", "trust=HAM10000_metadata.csv", "--balance", "none"),
    )
    assert done.returncode == 0, done.stderr
    rows = manifest(output)
    check_sums(output, rows)
    assert Counter(row["outcome"] for row in rows) == {"written": 6956, "duplicate": 663, "rejected": 224}
    # One of them with an image that is rejected for its labels.
    assert describe(output)["near_duplicates"] == {"pairs": 54, "skipped": 0}
    assert len(check_lesions(rows)) > 3000
    sources_of = defaultdict(set)
    written: Counter[str] = Counter()
    for row in rows:
        sources_of[row["id"]].add(row["source"])
        written[row["id"]] += row["outcome"] == "written"
    shared = [image for image, found in sources_of.items() if found == {"kaggle", "ham"}]
    assert len(shared) > 600
    assert max(written.values()) == 1
    assert sum(written[image] for image in shared) > 600
    assert Counter(row["source"] for row in rows)["gallery"] == len(list(shared_data.glob("isic_cli_download/*.jpg")))
    # HAM10000's lesion ids reach the images of the class folders, too.
    assert sum(1 for row in rows if row["source"] == "kaggle" and row["lesion_id"]) > 600
